package web

import "strings"

// before and after split a sentence around its {name}, so that a name in
// another script can be isolated in an element of its own.
func before(sentence string) string { s, _, _ := strings.Cut(sentence, "{name}"); return s }

func after(sentence string) string { _, s, _ := strings.Cut(sentence, "{name}"); return s }

// en is a word of the chat document, which is written in English and
// translated in the browser.
func en(key string) string { return English.T(key) }
