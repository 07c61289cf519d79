package web

import (
	"bytes"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
)

// chatSource is the document as text: a parser hides what is in <template>.
func chatSource(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	view := ChatView{Asset: func(name string) string { return "/static/" + name }, Modules: []string{"dom.js"}}
	if err := ChatDocument(view).Render(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// chatDocument has the templates opened, so that their content is seen too.
func chatDocument(t *testing.T) *goquery.Document {
	t.Helper()
	open := strings.NewReplacer("<template", "<div data-template", "</template>", "</div>").Replace(chatSource(t))
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(open))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestChatDocumentMarkup(t *testing.T) {
	doc := chatDocument(t)
	doc.Find("#confirm-yes, [data-template] button, [data-template] a").SetAttr("aria-label", "filled in by the page")
	checkMarkup(t, "chat", doc)
	seen := map[string]bool{}
	doc.Find("[id]").Each(func(_ int, e *goquery.Selection) {
		id := e.AttrOr("id", "")
		if seen[id] {
			t.Errorf("id %q twice", id)
		}
		seen[id] = true
	})
}

// The ids that tests outside this repository rely on, as far as the functions exist.
func TestChatDocumentKeepsItsIDs(t *testing.T) {
	doc := chatDocument(t)
	for _, id := range strings.Fields(`engine-state room-list room-item new-chat new-chat-address new-chat-start new-group new-group-name
		new-group-members new-group-create timeline message message-text message-sender message-time notice composer send room-info room-name
		member member-add member-remove member-role member-ban member-kick member-unban room-leave room-delete room-link-create room-link
		room-link-revoke room-description room-host new-group-kind-family join-accept devices device-item device-remove settings language
		theme banner confirm request-list request-item request-accept request-decline request-block
		message-menu action-report report-note report-send report-done`) {
		if n := doc.Find(testid(id)).Length(); n != 1 {
			t.Errorf("%s is there %d times", id, n)
		}
	}
	for _, id := range strings.Fields(`attach voice reaction action-reply device-link recovery-kit safety-code
		notifications-enable export`) {
		if doc.Find(testid(id)).Length() != 0 {
			t.Errorf("%s promises what does not exist yet", id)
		}
	}
}

func TestChatDocumentSaysKnownWords(t *testing.T) {
	words := ClientCatalogue()
	chatDocument(t).Find("[data-i18n], [data-i18n-label], [data-i18n-placeholder]").Each(func(_ int, e *goquery.Selection) {
		for _, attr := range []string{"data-i18n", "data-i18n-label", "data-i18n-placeholder"} {
			key, ok := e.Attr(attr)
			if !ok {
				continue
			}
			for _, l := range Languages() {
				if words[l][key] == "" {
					t.Errorf("%s: no %q", l, key)
				}
			}
			if attr == "data-i18n" && e.Children().Length() > 0 {
				t.Errorf("%q would replace elements by text", key)
			}
		}
	})
}

// The same bytes for everybody: nothing in the document depends on anything.
func TestChatDocumentIsConstant(t *testing.T) {
	first, second := chatSource(t), chatSource(t)
	if first != second {
		t.Error("two renderings differ")
	}
}
