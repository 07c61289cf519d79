package db

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// objects lists what CREATE statements have made, with their texts reduced to words.
func objects(t *testing.T, db *DB) []string {
	t.Helper()
	var all []string
	err := db.Read(t.Context(), func(tx *Tx) error {
		return tx.each(`SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND tbl_name NOT LIKE 'sqlite_%' AND tbl_name <> 'goose_db_version'`,
			nil, func(scan func(...any) error) error {
				var s string
				err := scan(&s)
				all = append(all, canonical(s))
				return err
			})
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// canonical drops comments and white space.
func canonical(sql string) string {
	var b strings.Builder
	for line := range strings.Lines(sql) {
		line, _, _ = strings.Cut(line, "--")
		b.WriteString(line + " ")
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func TestMigrationsLeadToSchema(t *testing.T) {
	text, err := os.ReadFile("schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	migrated := open(t, t.TempDir(), Options{})
	fresh := open(t, t.TempDir(), Options{})
	err = fresh.Write(t.Context(), func(tx *Tx) error {
		names, err := collect(tx, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'goose_db_version'`,
			nil, func(s *string, scan func(...any) error) error { return scan(s) })
		if err != nil {
			return err
		}
		if _, err := tx.exec("PRAGMA defer_foreign_keys = 1"); err != nil {
			return err
		}
		for _, n := range names {
			if _, err := tx.exec("DROP TABLE " + n); err != nil {
				return err
			}
		}
		for s := range strings.SplitSeq(string(text), ";\n") {
			if canonical(s) == "" {
				continue
			}
			if _, err := tx.exec(s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, want := objects(t, migrated), objects(t, fresh)
	for _, s := range got {
		if !slices.Contains(want, s) {
			t.Errorf("in migrations, not in schema.sql:\n%s", s)
		}
	}
	for _, s := range want {
		if !slices.Contains(got, s) {
			t.Errorf("in schema.sql, not in migrations:\n%s", s)
		}
		if strings.HasPrefix(s, "CREATE TABLE") && !strings.Contains(s[strings.LastIndex(s, ")"):], "STRICT") {
			t.Errorf("not STRICT:\n%s", s)
		}
	}
}
