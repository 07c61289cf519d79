package db

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// TestMain lets the test binary be the server that is killed in TestKilledWriterKeepsItsWord.
func TestMain(m *testing.M) {
	if dir := os.Getenv("KITH_TEST_WRITER"); dir != "" {
		writeForever(dir)
	}
	os.Exit(m.Run())
}

// writeForever writes from several goroutines and prints each key after its Write has returned.
func writeForever(dir string) {
	db, err := Open(context.Background(), dir, Options{Exclusive: true})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	pid := os.Getpid()
	for p := range 8 {
		go func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d-%d-%d", pid, p, i)
				err := db.Write(context.Background(), func(tx *Tx) error { return tx.SetSetting(key, []byte(key)) })
				mu.Lock()
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				os.Stdout.WriteString(key + "\n")
				mu.Unlock()
			}
		}()
	}
	select {}
}

func TestKilledWriterKeepsItsWord(t *testing.T) {
	dir := t.TempDir()
	var acked []string
	for round := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "KITH_TEST_WRITER="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			acked = append(acked, lines.Text())
			if n == 100+round*173 {
				cmd.Process.Kill() // SIGKILL; what is in the pipe is still read
			}
		}
		cmd.Wait()
		// The lock of the killed process is gone, and everything it reported is there.
		db, err := Open(t.Context(), dir, Options{Exclusive: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range acked {
			if !has(t, db, key) {
				t.Errorf("%s was acknowledged and is gone", key)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(acked) < 500 {
		t.Errorf("only %d rows were acknowledged", len(acked))
	}
}
