//go:build mls_suite1

package mls

// otherSuites is empty: a program that has only ever groups of suite 0x0001, such as the chat client's engine, does
// without the code of the other rows.
var otherSuites [0]*suite
