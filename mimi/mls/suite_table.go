//go:build !mls_suite1

package mls

// otherSuites are the rows of the table beside suite1. It is never modified.
var otherSuites = [...]*suite{suite2, suite3, suite5, suite7, suiteXWing}
