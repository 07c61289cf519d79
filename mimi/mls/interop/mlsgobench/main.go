// Program mlsgobench measures kith/mimi/mls beside github.com/thomas-vilte/mls-go, in the same groups: both have
// members in each group, process the same octets and take turns, so that what else the machine does hits both. It
// prints medians of CPU time, which a busy machine disturbs less than wall time.
//
// It is a module of its own: the product does not depend on the other library.
//
//	go run . [-sizes 2,10,100,500,1000] [-rounds 15]
package main

import (
	"flag"
	"fmt"
	"log"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var rounds = flag.Int("rounds", 15, "measurements of each operation; the median counts")

func main() {
	sizes := flag.String("sizes", "2,10,100,500,1000", "members of the groups: 2, or 4 and more")
	trees := flag.String("trees", "populated,fresh", "populated: everybody has committed; fresh: everybody has just been added")
	flag.Parse()
	for _, tree := range strings.Split(*trees, ",") {
		for _, size := range strings.Split(*sizes, ",") {
			n, err := strconv.Atoi(size)
			check(err)
			var f *field
			if tree == "populated" {
				f = populated(n)
			} else {
				f = fresh(n)
			}
			f.measure(fmt.Sprintf("%s, %d members", tree, n))
		}
	}
}

// measure prints one group's table.
func (f *field) measure(title string) {
	fmt.Printf("\n%s\n%-18s %12s %12s %8s\n", title, "CPU time", "kith", "mls-go", "ratio")
	f.commits()
	f.messages()
	f.externalJoins()
	f.joins() // the last, as only one member follows
}

// row is one operation in both libraries.
type row struct{ ours, theirs []time.Duration }

func (r *row) print(name string) {
	a, b := median(r.ours), median(r.theirs)
	fmt.Printf("%-18s %12s %12s %8.2f\n", name, short(a), short(b), float64(b)/float64(a))
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

func short(d time.Duration) string {
	if d < time.Millisecond {
		return fmt.Sprintf("%.1f µs", float64(d)/1e3)
	}
	return fmt.Sprintf("%.2f ms", float64(d)/1e6)
}

// cpu is the CPU time of this process that run takes, garbage collection included.
func cpu(run func()) time.Duration {
	start := used()
	run()
	return used() - start
}

func used() time.Duration {
	var u syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// must ends the program on an error: there is nobody to hand it to.
func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		log.Panic(err)
	}
}
