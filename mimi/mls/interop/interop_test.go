//go:build !js

package interop

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// outcome is how a flow ended.
type outcome struct {
	flow, direction, result string
	suite                   uint16
}

// ourselves is this tree's library as an implementation.
func ourselves(t *testing.T) *implementation {
	t.Helper()
	i := &implementation{name: "ours", inProcess: true}
	if err := i.introduce(); err != nil {
		t.Fatal(err)
	}
	return i
}

// TestInterop runs every flow between our library and each peer, in both directions and every suite that both have.
func TestInterop(t *testing.T) {
	us := ourselves(t)
	var all []*implementation
	for _, b := range builders {
		t.Run(b.name, func(t *testing.T) {
			them := prepare(t, b.name, b.build)
			all = append(all, them)
			suites := common(us, them)
			if len(suites) == 0 {
				t.Fatalf("no suite in common: %v and %v", us.suites, them.suites)
			}
			var outcomes []outcome
			for _, suite := range suites {
				outcomes = append(outcomes, runSuite(t, us, them, suite)...)
			}
			t.Logf("%s %s\n%s", them.name, them.version, table(outcomes))
		})
	}
	t.Run("together", func(t *testing.T) {
		if len(all) < 2 {
			t.Skip("a group of everybody needs two peers at least")
		}
		together(t, us, all)
	})
}

// together runs one group of all implementations in every suite that at least two peers have.
func together(t *testing.T, us *implementation, all []*implementation) {
	idle := &pool{idle: map[*implementation][]peer{}}
	defer idle.close(t)
	for _, suite := range common(us, us) {
		var members []*implementation
		for _, i := range all {
			if slices.Contains(i.suites, suite) {
				members = append(members, i)
			}
		}
		if len(members) < 2 {
			continue
		}
		w := &world{suite: suite, idle: idle}
		if err := everybody(w, us, members); err != nil {
			t.Errorf("suite %d: %v", suite, err)
		} else {
			t.Logf("suite %d: ok with %d implementations in one group", suite, len(members)+1)
		}
		w.close()
	}
}

// TestFlows runs the flows with our library alone: what fails here is a fault of ours or of the flow.
func TestFlows(t *testing.T) {
	us := ourselves(t)
	for _, suite := range common(us, us) {
		for _, o := range runSuite(t, us, us, suite) {
			t.Logf("%v: suite %d: %s: %s", o.direction, o.suite, o.flow, o.result)
		}
	}
}

// common lists the suites of both, or the first alone where it is to be quick.
func common(a, b *implementation) []uint16 {
	var both []uint16
	for _, s := range a.suites {
		if slices.Contains(b.suites, s) {
			both = append(both, s)
		}
	}
	if len(both) > 1 && quick() {
		both = both[:1]
	}
	return both
}

// runSuite runs every flow in one suite, in both directions if the two differ.
func runSuite(t *testing.T, us, them *implementation, suite uint16) []outcome {
	t.Helper()
	idle := &pool{idle: map[*implementation][]peer{}}
	defer idle.close(t)
	directions := [][2]*implementation{{us, them}}
	if us != them {
		directions = append(directions, [2]*implementation{them, us})
	}
	var out []outcome
	for _, f := range flows {
		if only := os.Getenv("INTEROP_FLOW"); only != "" && only != f.name {
			continue
		}
		for _, d := range directions {
			direction := d[0].name + " → " + d[1].name
			w := &world{suite: suite, idle: idle}
			err := f.run(w, d[0], d[1])
			w.close()
			result, fault := judge(err, lookUp(them.name, f.name, direction, suite))
			if fault != "" {
				t.Errorf("%s: suite %d: %s: %s", direction, suite, f.name, fault)
			}
			out = append(out, outcome{f.name, direction, result, suite})
		}
	}
	return out
}

// judge compares how a flow ended with what is known about it. Whatever does not end well must be known, for that
// reason; whatever is known must still happen. Only so can a peer's fault not hide one of ours.
func judge(err error, d *deviation) (result, fault string) {
	switch {
	case err == nil && d == nil:
		return "ok", ""
	case err == nil:
		return "ok", fmt.Sprintf("works, but is listed as %q: remove the row from deviations and from doc.go", d.what)
	case d == nil:
		return "FAILED", err.Error()
	case !d.explains(err):
		return "FAILED", fmt.Sprintf("is known to end with %q, but ended otherwise: %v", d.match, err)
	}
	return d.kind + ": " + d.what, ""
}

// table prints the outcomes: a line for each flow, direction and result, with the suites.
func table(outcomes []outcome) string {
	type row struct{ flow, direction, result string }
	var rows []row
	suites := map[row][]string{}
	for _, o := range outcomes {
		r := row{o.flow, o.direction, o.result}
		if suites[r] == nil {
			rows = append(rows, r)
		}
		suites[r] = append(suites[r], fmt.Sprint(o.suite))
	}
	var b strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&b, "%-25s | %-16s | suites %-14s | %s\n", r.flow, r.direction, strings.Join(suites[r], " "), r.result)
	}
	return b.String()
}

// TestDeviationsAreWrittenDown compares the table of the tests with that of the package comment, both ways.
func TestDeviationsAreWrittenDown(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, found := strings.Cut(string(doc), "# Known deviations")
	list, _, ended := strings.Cut(list, "// # ")
	if !found || !ended {
		t.Fatal("doc.go has no list of known deviations")
	}
	written := map[string]bool{}
	for line := range strings.Lines(list) {
		if row := strings.TrimPrefix(line, "//\t"); row != line {
			written[strings.Join(strings.Fields(row), " ")] = false
		}
	}
	for _, d := range deviations {
		row := fmt.Sprintf("%s | %s | %s | %s", d.peer, d.kind, d.section, d.what)
		if _, ok := written[row]; !ok {
			t.Errorf("doc.go lacks the row %q", row)
		}
		written[row] = true
		if d.match == "" || !slices.ContainsFunc(flows, func(f flow) bool { return f.name == d.flow }) {
			t.Errorf("incomplete row: %+v", d)
		}
	}
	for row, used := range written {
		if !used {
			t.Errorf("doc.go lists what no test knows: %q", row)
		}
	}
}

// TestJudge checks that an expected failure cannot hide anything.
func TestJudge(t *testing.T) {
	d := &deviation{kind: known, match: "bad tag", what: "tags are bad"}
	for _, c := range []struct {
		err    error
		d      *deviation
		result string
		fault  bool
	}{
		{nil, nil, "ok", false},
		{nil, d, "ok", true},
		{errors.New("bad tag"), d, known + ": tags are bad", false},
		{errors.New("other"), d, "FAILED", true},
		{errors.New("bad tag"), nil, "FAILED", true},
		{unsupportedError{"bad tag"}, nil, "FAILED", true},
	} {
		result, fault := judge(c.err, c.d)
		if result != c.result || (fault != "") != c.fault {
			t.Errorf("judge(%v, %v) = %q, %q", c.err, c.d, result, fault)
		}
	}
}
