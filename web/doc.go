// Package web renders Kith's pages: set-up, invitation, sign-in, administration
// and messages about what went wrong, and the document of the chat client,
// which the static build renders once, the same bytes for everybody.
//
// A component takes a view struct of ready values and decides nothing. Text
// comes from one catalogue for pages and chat client alike; what people wrote
// is escaped by templ and marked dir="auto". The pages work without
// JavaScript and carry no inline script or style, so that the strict content
// security policy holds.
package web
