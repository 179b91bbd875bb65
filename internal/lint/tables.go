package lint

import (
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
)

// A Table is a table in a Markdown file. Its cells are without the backquotes
// of code.
type Table struct {
	Title string // the heading above it, which no two tables of a file share
	Head  []string
	Rows  [][]string
}

// Tables reads the tables of a Markdown file, by title.
func Tables(file string) (map[string]*Table, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	tables := map[string]*Table{}
	title := ""
	var t *Table
	for i, l := range prose(string(text)) {
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "#") {
			title = strings.TrimSpace(strings.TrimLeft(l, "#"))
		}
		if !strings.HasPrefix(l, "|") {
			t = nil
			continue
		}
		cells := strings.Split(strings.Trim(l, "|"), "|")
		for j, c := range cells {
			cells[j] = strings.ReplaceAll(strings.TrimSpace(c), "`", "")
		}
		switch {
		case t == nil:
			if tables[title] != nil {
				return nil, fmt.Errorf("%s:%d: second table under %q", file, i+1, title)
			}
			t = &Table{Title: title, Head: cells}
			tables[title] = t
		case len(cells) != len(t.Head):
			return nil, fmt.Errorf("%s:%d: %d cells, want %d", file, i+1, len(cells), len(t.Head))
		case strings.Trim(l, "|-: ") != "":
			t.Rows = append(t.Rows, cells)
		}
	}
	return tables, nil
}

// Struct compares the table with a struct. The first three columns are the
// offset, the size and the name of each field; a name in parentheses is of
// bytes that have no name in the code. The rows must fill the struct without a
// gap, and have all its fields.
func (t *Table) Struct(s reflect.Type) error {
	end := uintptr(0)
	fields := map[string]bool{}
	for _, row := range t.Rows {
		offset, size, name, err := place(row)
		if err != nil {
			return fmt.Errorf("%s: %w", t.Title, err)
		}
		if offset != end {
			return fmt.Errorf("%s: %s is at %d, and what comes before it ends at %d", t.Title, name, offset, end)
		}
		end = offset + size
		if strings.HasPrefix(name, "(") {
			continue
		}
		f, ok := s.FieldByName(name)
		if !ok {
			return fmt.Errorf("%s: %v has no field %s", t.Title, s, name)
		}
		if f.Offset != offset || f.Type.Size() != size {
			return fmt.Errorf("%s: %s is at %d with %d bytes, the code has it at %d with %d", t.Title, name, offset, size, f.Offset, f.Type.Size())
		}
		fields[name] = true
	}
	if end != s.Size() {
		return fmt.Errorf("%s: ends at %d, the code has %d bytes", t.Title, end, s.Size())
	}
	for i := range s.NumField() {
		if n := s.Field(i).Name; n != "_" && !fields[n] {
			return fmt.Errorf("%s: lacks the field %s", t.Title, n)
		}
	}
	return nil
}

func place(row []string) (offset, size uintptr, name string, err error) {
	o, err := strconv.ParseUint(row[0], 10, 64)
	if err != nil {
		return 0, 0, "", err
	}
	n, err := strconv.ParseUint(row[1], 10, 64)
	return uintptr(o), uintptr(n), row[2], err
}

// Values compares the table with numbers: those of the first column, under
// the names in the second.
func (t *Table) Values(want map[string]uint64) error {
	got := map[string]uint64{}
	for _, row := range t.Rows {
		v, err := strconv.ParseUint(row[0], 0, 64)
		if err != nil {
			return fmt.Errorf("%s: %w", t.Title, err)
		}
		got[row[1]] = v
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%s: %v, the code has %v", t.Title, got, want)
	}
	return nil
}

// Bits compares the table with masks: the first column is a bit or a range of
// bits (7, 0-7), the second its name.
func (t *Table) Bits(want map[string]uint64) error {
	got := map[string]uint64{}
	for _, row := range t.Rows {
		first, last, isRange := strings.Cut(row[0], "-")
		if !isRange {
			last = first
		}
		lo, err1 := strconv.Atoi(first)
		hi, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || lo < 0 || hi < lo || hi > 63 {
			return fmt.Errorf("%s: bits %s", t.Title, row[0])
		}
		got[row[1]] = ^uint64(0) >> (63 - hi) &^ (1<<lo - 1)
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%s: %#x, the code has %#x", t.Title, got, want)
	}
	return nil
}
