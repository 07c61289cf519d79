package server

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// ruleFamilies is how many rules each family of the conformance matrix has; every one needs a row in mimi/SPEC.md.
var ruleFamilies = map[string]int{
	"EN": 6, "ID": 6, "TR": 7, "DI": 5, "KM": 12, "UP": 16, "SM": 6, "FR": 9, "NT": 13, "GI": 10, "CO": 7, "IQ": 3,
	"RA": 4, "AS": 8, "RS": 3, "PL": 5, "MD": 2, "RP": 11, "ML": 14, "MC": 18, "ST": 3, "CR": 6, "MM": 3,
}

// specRow matches `| KM-3 | done | TestKM3RequestSigned | mimi/wire/key_material.go | … |`.
var specRow = regexp.MustCompile(`(?m)^\| ([A-Z]{2}-\d+|RFC 9420 [\d.A-D]+|mls-extensions [\d.]+) \| ([a-z ]+) \| ([^|]*) \| ([^|]*) \|`)

type specLine struct{ status, tests, place string }

func readSpec(t *testing.T) map[string]specLine {
	t.Helper()
	text, err := os.ReadFile("../mimi/SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]specLine{}
	for _, m := range specRow.FindAllSubmatch(text, -1) {
		id := string(m[1])
		if _, twice := rows[id]; twice {
			t.Errorf("mimi/SPEC.md has two rows for %s", id)
		}
		rows[id] = specLine{string(m[2]), strings.TrimSpace(string(m[3])), strings.TrimSpace(string(m[4]))}
	}
	return rows
}

// testFunctions is every test function of the repository.
func testFunctions(t *testing.T) map[string]bool {
	names := map[string]bool{}
	pattern := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	goFiles(t, func(path string, source []byte) {
		if strings.HasSuffix(path, "_test.go") {
			for _, m := range pattern.FindAllSubmatch(source, -1) {
				names[string(m[1])] = true
			}
		}
	})
	return names
}

func TestSpecHasARowForEveryRule(t *testing.T) {
	rows := readSpec(t)
	for family, count := range ruleFamilies {
		for i := 1; i <= count; i++ {
			if _, ok := rows[family+"-"+strconv.Itoa(i)]; !ok {
				t.Errorf("mimi/SPEC.md has no row for %s-%d", family, i)
			}
		}
	}
	// Where the matrix itself is at hand, the table above must agree with it.
	matrix, err := os.ReadFile(filepath.Join("..", "..", "shared", "conformance.md"))
	if err != nil {
		t.Logf("the conformance matrix is not here: checked against the built-in list of families only")
		return
	}
	for _, m := range regexp.MustCompile(`(?m)^\|([A-Z]{2}-\d+)\|`).FindAllSubmatch(matrix, -1) {
		if _, ok := rows[string(m[1])]; !ok {
			t.Errorf("mimi/SPEC.md has no row for %s", m[1])
		}
	}
}

func TestSpecRowsAreTrue(t *testing.T) {
	tests := testFunctions(t)
	for id, row := range readSpec(t) {
		switch row.status {
		case "done":
			if row.tests == "" || row.place == "" {
				t.Errorf("%s is done without a test or a place", id)
			}
		case "partial":
			if row.place == "" {
				t.Errorf("%s is partial without a place", id)
			}
		case "not yet", "not ours":
		default:
			t.Errorf("%s: unknown status %q (done, partial, not yet, not ours)", id, row.status)
		}
		for _, name := range strings.FieldsFunc(row.tests, func(r rune) bool { return r == ',' || r == ' ' }) {
			if !tests[name] {
				t.Errorf("%s names %s, which does not exist", id, name)
			}
		}
		for _, path := range strings.FieldsFunc(row.place, func(r rune) bool { return r == ',' || r == ' ' }) {
			if _, err := os.Stat(filepath.Join("..", path)); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
}

// TestSpecCoversRFC9420 demands a row for every section of RFC 9420 that contains a rule.
func TestSpecCoversRFC9420(t *testing.T) {
	rows := readSpec(t)
	for _, section := range bytes.Fields([]byte(rfc9420Sections)) {
		if _, ok := rows["RFC 9420 "+string(section)]; !ok {
			t.Errorf("mimi/SPEC.md has no row for RFC 9420, Section %s", section)
		}
	}
}

// TestSpecCoversMLSExtensions does the same for draft-ietf-mls-extensions.
func TestSpecCoversMLSExtensions(t *testing.T) {
	rows := readSpec(t)
	for _, section := range strings.Fields("4.1 4.2 4.3 4.4 4.5 4.6 4.7 4.8 4.9 5 5.1 6.1 6.2.2 6.2.3 6.2.4 6.3 6.4 6.5") {
		if _, ok := rows["mls-extensions "+section]; !ok {
			t.Errorf("mimi/SPEC.md has no row for draft-ietf-mls-extensions, Section %s", section)
		}
	}
}

// rfc9420Sections are the sections of RFC 9420 that hold a MUST, SHOULD or an algorithm to follow.
const rfc9420Sections = `2.1.1 2.1.2 4.1.1 4.1.2 5.1 5.1.1 5.1.2 5.1.3 5.2 5.3 5.3.1 5.3.2 5.3.3 6 6.1 6.2 6.3 6.3.1 6.3.2
	7.1 7.2 7.3 7.4 7.5 7.6 7.7 7.8 7.9 7.9.1 7.9.2 8 8.1 8.2 8.3 8.4 8.5 8.6 8.7 9 9.1 9.2 10 10.1 11 11.1 11.2 11.3
	12.1 12.1.1 12.1.2 12.1.3 12.1.4 12.1.5 12.1.6 12.1.7 12.1.8 12.1.8.1 12.2 12.3 12.4 12.4.1 12.4.2 12.4.3 12.4.3.1
	12.4.3.2 12.4.3.3 13.1 13.2 13.3 13.4 13.5 14 15.1 15.2 15.3 16.4 16.8 17.1 C`
