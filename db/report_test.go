package db

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestReports(t *testing.T) {
	s := newMessageStore(t)
	add := func(r Report) {
		t.Helper()
		s.write(t, func(tx *Tx) error { return tx.AddReport(r) })
	}
	open := func(verified bool) (list []Report, n int) {
		t.Helper()
		err := s.Read(t.Context(), func(tx *Tx) (err error) {
			if list, err = tx.OpenReports(verified, 2); err != nil {
				return err
			}
			n, err = tx.CountReports(verified)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return list, n
	}
	r := Report{Hash: []byte{1}, At: 5, Room: "r", Provider: "p", Reporter: "x", Abuser: "y", Reason: 3, Note: "n", Unverified: 2,
		Messages: []ReportedMessage{{1, []byte("a"), []byte("b"), "c"}, {2, []byte("d"), []byte("e"), ""}}}
	add(r)
	add(r) // again
	for i := range 3 {
		add(Report{Hash: []byte{2, byte(i)}, At: int64(i)})
	}
	verified, n := open(true)
	if len(verified) != 1 || n != 1 || len(verified[0].Messages) != 2 || !bytes.Equal(verified[0].Messages[1].Frank, []byte("e")) ||
		verified[0].Note != "n" || verified[0].Reason != 3 || verified[0].Messages[0].Text != "c" {
		t.Errorf("%d verified: %+v", n, verified)
	}
	if list, n := open(false); len(list) != 2 || n != 3 || list[0].At != 2 || list[1].At != 1 {
		t.Errorf("%d unverified: %+v", n, list)
	}
	s.write(t, func(tx *Tx) error { return tx.HandleReport(verified[0].ID, 1) })
	if err := s.Write(t.Context(), func(tx *Tx) error { return tx.HandleReport(verified[0].ID, 1) }); !errors.Is(err, ErrNotFound) {
		t.Errorf("handled twice: %v", err)
	}
	if _, n := open(true); n != 0 {
		t.Error("a handled report is open")
	}
	add(r) // once handled, the same report stays handled
	if _, n := open(true); n != 0 {
		t.Error("a handled report is open again")
	}
}

// TestReportsDoNotFillTheDisk: reports that nothing proves make room for each other, and handled ones go in time.
func TestReportsDoNotFillTheDisk(t *testing.T) {
	s := newMessageStore(t)
	s.write(t, func(tx *Tx) error {
		err := tx.AddReport(Report{Hash: []byte("proved"), Messages: []ReportedMessage{{Text: "x", Data: []byte{}, Frank: []byte{}}}})
		for i := 0; i < maxUnverified+10 && err == nil; i++ {
			err = tx.AddReport(Report{Hash: fmt.Append(nil, i), At: int64(i)})
		}
		return err
	})
	var unverified, verified int
	var oldest Report
	err := s.Read(t.Context(), func(tx *Tx) (err error) {
		list, err := tx.OpenReports(false, 2*maxUnverified)
		if err != nil {
			return err
		}
		unverified, oldest = len(list), list[len(list)-1]
		verified, err = tx.CountReports(true)
		return err
	})
	if err != nil || unverified != maxUnverified || oldest.At != 10 || verified != 1 {
		t.Errorf("%d unverified from %d, %d verified: %v", unverified, oldest.At, verified, err)
	}
	s.write(t, func(tx *Tx) error {
		list, err := tx.OpenReports(true, 1)
		if err != nil {
			return err
		}
		if err := tx.HandleReport(list[0].ID, 1); err != nil {
			return err
		}
		return tx.AddReport(Report{Hash: []byte("much later"), At: tx.Now() + keepHandled + 1})
	})
	var messages int
	err = s.Read(t.Context(), func(tx *Tx) error { return tx.one(`SELECT count(*) FROM report_message`, nil, &messages) })
	if err != nil || messages != 0 {
		t.Errorf("%d messages of handled reports are kept: %v", messages, err)
	}
}

func TestHubKeys(t *testing.T) {
	s := newMessageStore(t)
	for _, from := range []int64{30, 10, 20} {
		s.write(t, func(tx *Tx) error { return tx.AddHubKey(HubKey{from, []byte{byte(from)}}) })
	}
	if err := s.Write(t.Context(), func(tx *Tx) error { return tx.AddHubKey(HubKey{10, []byte{9}}) }); !errors.Is(err, ErrExists) {
		t.Errorf("two keys for one time: %v", err)
	}
	err := s.Read(t.Context(), func(tx *Tx) error {
		keys, err := tx.HubKeys()
		if len(keys) != 3 || keys[0].From != 10 || keys[2].Key[0] != 30 {
			t.Errorf("%v", keys)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestVerifiedReportsAreBounded: a provider that reports the same message over and over drives out no other's reports.
func TestVerifiedReportsAreBounded(t *testing.T) {
	s := newMessageStore(t)
	proof := []ReportedMessage{{Text: "x", Data: []byte{1}, Frank: []byte{}}}
	s.write(t, func(tx *Tx) error {
		err := tx.AddReport(Report{Hash: []byte("honest"), Provider: "b.example", Messages: proof})
		for i := 0; i < maxVerified+10 && err == nil; i++ {
			err = tx.AddReport(Report{Hash: fmt.Append(nil, i), Provider: "evil.example", At: int64(i), Messages: proof})
		}
		return err
	})
	var of = map[string]int{}
	var messages int
	err := s.Read(t.Context(), func(tx *Tx) error {
		list, err := tx.OpenReports(true, 2*maxVerified)
		for _, r := range list {
			of[r.Provider]++
		}
		return errors.Join(err, tx.one(`SELECT count(*) FROM report_message`, nil, &messages))
	})
	if err != nil || of["evil.example"] != maxVerified || of["b.example"] != 1 || messages != maxVerified+1 {
		t.Errorf("%v, %d messages: %v", of, messages, err)
	}
}
