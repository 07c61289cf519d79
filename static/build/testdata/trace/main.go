// Command trace asks of the runtime what it needs the table of functions for.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
)

type node struct{ next *node }

// deep makes the stack grow, which moves pointers into it, and has the collector look through all of it.
func deep(n int, above *node) int {
	here := &node{above}
	var pointers [20]*node
	for i := range pointers {
		pointers[i] = &node{here}
	}
	if n == 0 {
		runtime.GC()
		count := 0
		for at := above; at != nil; at = at.next {
			count++
		}
		return count
	}
	count := deep(n-1, here)
	for _, p := range pointers {
		if p.next != here {
			panic("a pointer was lost")
		}
	}
	return count
}

// guarded has a deferred call that the compiler codes in place, and recovers.
func guarded(f func()) (err error) {
	defer func() { err, _ = recover().(error) }()
	f()
	return nil
}

func named() string {
	pc, _, _, _ := runtime.Caller(0)
	return runtime.FuncForPC(pc).Name()
}

func main() {
	var none []int
	var missing *node
	bad := errors.New("bad")
	for i := range 3 {
		defer func() { fmt.Println("deferred", i) }()
	}
	fmt.Println(deep(3000, nil), guarded(func() { fmt.Println(none[len(os.Args)]) }), guarded(func() { missing.next = nil }), guarded(func() { panic(bad) }) == bad)
	fmt.Println(named())
	done := make(chan int)
	go func() { defer close(done); defer runtime.Goexit(); done <- deep(500, nil) }()
	fmt.Println(<-done)
	trace := make([]byte, 10000)
	fmt.Println(strings.Count(string(trace[:runtime.Stack(trace, false)]), "main.main("))
}
