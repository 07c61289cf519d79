// Package browsertest drives Kith as its users do: the real binary, real Chromium, the test ids of the pages. Its
// tests carry the build tag browser; .ci/run browser runs them. They are skipped, with the reason printed, where no
// Chromium is installed, and fail there when E2E_REQUIRED=1. KITH_SCREENSHOTS=DIR keeps pictures of every page.
package browsertest
