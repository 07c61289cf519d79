package db

import (
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// objects lists what CREATE statements have made, with their texts reduced to words.
func objects(t *testing.T, path string) []string {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND tbl_name NOT LIKE 'sqlite_%' AND tbl_name <> 'goose_db_version'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		all = append(all, canonical(s))
	}
	slices.Sort(all)
	return all
}

// canonical drops comments and white space that means nothing; ALTER TABLE leaves some before what it adds.
func canonical(sql string) string {
	var b strings.Builder
	for line := range strings.Lines(sql) {
		line, _, _ = strings.Cut(line, "--")
		b.WriteString(line + " ")
	}
	return strings.NewReplacer(" ,", ",", " )", ")", "( ", "(").Replace(strings.Join(strings.Fields(b.String()), " "))
}

// fromSchema makes a database from schema.sql alone.
func fromSchema(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "schema.db")
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(string(text)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMigrationsLeadToSchema(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, Options{})
	got, want := objects(t, filepath.Join(dir, fileName)), objects(t, fromSchema(t))
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
