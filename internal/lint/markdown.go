package lint

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// A CodeBlock is a fenced block of Go in a Markdown file.
type CodeBlock struct {
	File string
	Line int // of the fence
	Text string
}

// CodeBlocks returns the blocks that are fenced as Go in a Markdown file.
func CodeBlocks(file, text string) (blocks []CodeBlock) {
	in := -1
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		switch fence := strings.TrimSpace(l); {
		case in < 0 && fence == "```go":
			in = i
		case in >= 0 && fence == "```":
			blocks = append(blocks, CodeBlock{file, in + 1, strings.Join(lines[in+1:i], "\n")})
			in = -1
		}
	}
	return blocks
}

// Source makes a Go file of a block. What is no declaration becomes the body
// of a function with the given parameters. imports are the packages that a
// block may use without saying so.
func (b CodeBlock) Source(pkg, params string, imports []string) (string, error) {
	text := b.Text
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+text, 0); err != nil {
		text = fmt.Sprintf("func _(%s) error {\n%s\nreturn nil\n}", params, text)
	}
	f, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+text, 0)
	if err != nil {
		return "", fmt.Errorf("%s:%d: %w", b.File, b.Line, err)
	}
	used := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok {
				used[x.Name] = true
			}
		}
		return true
	})
	src := "package " + pkg + "\n"
	for _, imp := range imports {
		if used[path.Base(imp)] {
			src += fmt.Sprintf("import %q\n", imp)
		}
	}
	out, err := format.Source([]byte(src + text))
	if err != nil {
		return "", fmt.Errorf("%s:%d: %w", b.File, b.Line, err)
	}
	return string(out), nil
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Links reports the relative links in the Markdown files of the tree that lead
// to no file, or to no heading of one.
func Links(tree fs.FS) (faults []string, err error) {
	err = walk(tree, func(name string) error {
		if path.Ext(name) != ".md" {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		for i, l := range prose(string(text)) {
			for _, m := range link.FindAllStringSubmatch(l, -1) {
				if why := broken(tree, name, m[1]); why != "" {
					faults = append(faults, fmt.Sprintf("%s:%d: link to %s: %s", name, i+1, m[1], why))
				}
			}
		}
		return nil
	})
	return faults, err
}

// broken says what is wrong with a link from a file.
func broken(tree fs.FS, from, to string) string {
	if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
		return ""
	}
	file, anchor, _ := strings.Cut(to, "#")
	target := from
	if file != "" {
		target = path.Join(path.Dir(from), file)
	}
	if _, err := fs.Stat(tree, target); err != nil {
		return "there is no " + target
	}
	if anchor == "" {
		return ""
	}
	text, err := fs.ReadFile(tree, target)
	if err != nil {
		return err.Error()
	}
	if !slices.Contains(anchors(string(text)), anchor) {
		return "there is no such heading"
	}
	return ""
}

// prose is the lines of a Markdown text, those of code emptied.
func prose(text string) []string {
	lines := strings.Split(text, "\n")
	code := false
	for i, l := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(l), "```")
		if fence {
			code = !code
		}
		if code || fence {
			lines[i] = ""
		}
	}
	return lines
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// anchors is what the headings of a Markdown text are called in links.
func anchors(text string) (names []string) {
	for _, l := range prose(text) {
		if strings.HasPrefix(l, "#") {
			h := strings.ToLower(strings.TrimSpace(strings.TrimLeft(l, "#")))
			names = append(names, strings.ReplaceAll(notInAnchor.ReplaceAllString(h, ""), " ", "-"))
		}
	}
	return names
}
