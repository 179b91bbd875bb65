package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The tests run the program for real: as it comes from go build, and, where the
// second process has to misbehave, as the test binary in the role of the
// program. faultVar then says in which job, and how.
const (
	programVar = "QUICKSTART_TEST_PROGRAM"
	faultVar   = "QUICKSTART_TEST_FAULT" // "HOW in JOB"
)

func TestMain(m *testing.M) {
	if os.Getenv(programVar) == "" {
		os.Exit(m.Run())
	}
	how, spec, _ := strings.Cut(os.Getenv(faultVar), " in ")
	if spec != "" && spec == os.Getenv(jobVar) {
		faults[how](spec)
	}
	main()
}

// faults are what a second process can do wrong.
var faults = map[string]func(spec string){
	"die unattached": func(string) { kill() },
	"die attached":   func(spec string) { misbehave(spec, kill) },
	"hang": func(spec string) {
		misbehave(spec, func() {
			fmt.Fprintln(os.Stderr, "hanging", os.Getpid())
			time.Sleep(time.Hour) // until it is killed
		})
	},
	"corrupt": func(spec string) {
		j, err := parseJob(spec)
		if err != nil {
			panic(err)
		}
		flip := digests[j.task]
		digests[j.task] = func() hash.Hash { return &flipped{Hash: flip()} }
	},
}

func kill() { syscall.Kill(os.Getpid(), syscall.SIGKILL) }

// misbehave attaches to everything and tells the first process so.
func misbehave(spec string, act func()) {
	j, err := parseJob(spec)
	if err != nil {
		panic(err)
	}
	var end io.Closer
	if j.task == taskPing {
		end, err = j.transport.attachPing()
	} else {
		end, err = j.transport.attachStream()
	}
	if err != nil {
		panic(err)
	}
	panic(deliver(context.Background(), end, func() (result, error) {
		act()
		return result{}, errors.New("still here")
	}))
}

// flipped sees one bit of everything differently.
type flipped struct {
	hash.Hash
	done bool
}

func (f *flipped) Write(b []byte) (int, error) {
	if !f.done && len(b) > 0 {
		b = slices.Clone(b)
		b[0] ^= 1
		f.done = true
	}
	return f.Hash.Write(b)
}

// build makes the program as a user gets it.
func build(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "quickstart")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return exe
}

// asProgram is the test binary in the role of the program.
func asProgram(t *testing.T, fault string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), programVar+"=1", faultVar+"="+fault,
		"GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE")) // under -race, each process would sleep for a second
	return cmd
}

// runCmd returns what cmd printed and its exit code.
func runCmd(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// tree writes files of awkward sizes and returns the directory, and in the
// order of their paths what is in them.
func tree(t *testing.T) (dir string, files [][]byte) {
	t.Helper()
	dir = t.TempDir()
	for i, size := range []int{0, 1, recordData - 1, recordData, recordData + 1, 3 * recordData, 100_000} {
		path := filepath.Join(dir, fmt.Sprintf("d%d", i/3), fmt.Sprintf("f%d", i))
		data := make([]byte, size)
		for k := range data {
			data[k] = byte(k * (i + 7) >> 3)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, data)
	}
	if err := os.Symlink("d0", filepath.Join(dir, "link")); err != nil { // not followed
		t.Fatal(err)
	}
	return dir, files
}

// lines are those that say what was sent and received.
func lines(files [][]byte) (counts, digest string) {
	var records, size uint64
	h := sha256.New()
	for _, data := range files {
		records += uint64(max(1, (len(data)+recordData-1)/recordData))
		size += uint64(len(data))
		h.Write(data)
	}
	return fmt.Sprintf("%d files, %s records, %s bytes", len(files), commas(records), commas(size)),
		fmt.Sprintf("SHA-256 %x\n", h.Sum(nil))
}

func TestSendsEverything(t *testing.T) {
	exe := build(t)
	dir, files := tree(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	last := files[len(files)-1]
	tests := []struct {
		name, in string
		stdin    []byte
		files    [][]byte
	}{
		{name: "directory", in: dir, files: files},
		{name: "symbolic link to a directory", in: link, files: files},
		{name: "file", in: filepath.Join(dir, "d2", "f6"), files: [][]byte{last}},
		{name: "empty file", in: filepath.Join(dir, "d0", "f0"), files: [][]byte{nil}},
		{name: "standard input", in: "-", stdin: last, files: [][]byte{last}},
		{name: "empty standard input", in: "-", files: [][]byte{nil}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.Command(exe, "-in", test.in, "-passes", "1", "-pings", "100")
			cmd.Stdin = bytes.NewReader(test.stdin)
			stdout, stderr, code := runCmd(t, cmd)
			if code != 0 || stderr != "" {
				t.Fatalf("exit code %d, stderr:\n%s", code, stderr)
			}
			counts, digest := lines(test.files)
			for _, want := range []string{"Sent      " + counts, "Received  " + counts, "Equal     in 2 passes"} {
				if !strings.Contains(stdout, want) {
					t.Errorf("no %q in\n%s", want, stdout)
				}
			}
			if n := strings.Count(stdout, digest); n != 2 {
				t.Errorf("%q is there %d times, want 2, in\n%s", digest, n, stdout)
			}
			for _, tr := range transports {
				if !strings.Contains(stdout, "\n"+tr.name()+" ") {
					t.Errorf("no line for %s in\n%s", tr.name(), stdout)
				}
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	exe := build(t)
	empty := t.TempDir()
	missing := filepath.Join(empty, "missing")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // root reads everything, but not this
		secret = "/proc/1/mem"
		if _, err := os.Stat(secret); err != nil {
			t.Skip("nothing here that root cannot read")
		}
	}
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"empty directory", []string{"-in", empty}, "no regular file under " + empty},
		{"missing path", []string{"-in", missing}, missing},
		{"unreadable file", []string{"-in", secret}, secret},
		{"file where a directory is meant", []string{"-in", filepath.Join(exe, "x")}, filepath.Join(exe, "x")},
		{"argument without -in", []string{empty}, "-in"},
		{"no passes", []string{"-passes", "0"}, "-passes 0"},
		{"no pings", []string{"-pings", "-1"}, "-pings -1"},
		{"unknown flag", []string{"-verbose"}, "-verbose"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stdout, stderr, code := runCmd(t, exec.Command(exe, test.args...))
			if code != 1 || stdout != "" || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, stdout %q, stderr without %q:\n%s", code, stdout, test.want, stderr)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	_, stderr, code := runCmd(t, exec.Command(build(t), "-h"))
	if code != 0 || !strings.Contains(stderr, "-in DIR|FILE|-") {
		t.Errorf("exit code %d, stderr:\n%s", code, stderr)
	}
}

// jobs are all that there are.
func jobs() (all []job) {
	for _, tr := range transports {
		all = append(all, job{tr, taskHash}, job{tr, taskTouch})
		if tr.pings() {
			all = append(all, job{tr, taskPing})
		}
	}
	return all
}

func TestFaultOfSecondProcess(t *testing.T) {
	dir, _ := tree(t)
	for _, j := range jobs() {
		for how, want := range map[string]string{
			"die unattached": "ended with: signal: killed",
			"die attached":   "ended with: signal: killed",
			"corrupt":        "the two sides differ",
		} {
			if how == "corrupt" && j.task == taskPing {
				continue
			}
			t.Run(how+" in "+j.String(), func(t *testing.T) {
				stdout, stderr, code := runCmd(t, asProgram(t, how+" in "+j.String(), "-in", dir, "-passes", "1", "-pings", "100"))
				if code != 1 || stdout != "" {
					t.Errorf("exit code %d, stdout:\n%s", code, stdout)
				}
				if !strings.Contains(stderr, "quickstart: "+j.String()+": ") || !strings.Contains(stderr, want) {
					t.Errorf("no %q of %v in\n%s", want, j, stderr)
				}
			})
		}
	}
}

func TestInterruptEndsBoth(t *testing.T) {
	big := filepath.Join(t.TempDir(), "big") // no transport holds it
	if err := os.WriteFile(big, make([]byte, 4*ringRecords*recordData), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs() {
		t.Run(j.String(), func(t *testing.T) {
			cmd := asProgram(t, "hang in "+j.String(), "-in", big, "-passes", "1", "-pings", "100")
			pipe, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			stderr := bufio.NewReader(pipe)
			hanging, err := stderr.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			var pid int
			if _, err := fmt.Sscanf(hanging, "hanging %d", &pid); err != nil {
				t.Fatalf("%q: %v", hanging, err)
			}
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(stderr)
			if err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 1 || string(rest) != "quickstart: interrupted\n" {
				t.Errorf("exit code %d, stderr %q", code, rest)
			}
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("second process %d: %v, want it gone", pid, err)
			}
		})
	}
}

func TestJobOfNobodyIsRefused(t *testing.T) {
	cmd := exec.Command(build(t))
	cmd.Env = append(os.Environ(), jobVar+"=smoke signals: SHA-256")
	if _, stderr, code := runCmd(t, cmd); code != 1 || !strings.Contains(stderr, jobVar) {
		t.Errorf("exit code %d, stderr:\n%s", code, stderr)
	}
}

func TestTruncatedRecordIsAnError(t *testing.T) {
	ours, theirs, err := pipes()
	if err != nil {
		t.Fatal(err)
	}
	in := &recordReader{end: theirs, batch: make([]record, batched)}
	defer in.Close()
	if _, err := ours.w.Write(make([]byte, recordSize+1)); err != nil {
		t.Fatal(err)
	}
	ours.Close()
	if _, err := receive(t.Context(), in, sha256.New()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

func TestPercentile(t *testing.T) {
	var d []time.Duration
	for i := range 200 {
		d = append(d, time.Duration(200-i))
	}
	for _, test := range []struct {
		of      []time.Duration
		p, want int
	}{{d, 50, 100}, {d, 99, 198}, {d, 100, 200}, {d[:1], 50, 200}, {d[:3], 50, 199}} {
		if got := percentile(test.of, test.p); got != time.Duration(test.want) {
			t.Errorf("percentile %d of %d values: %d, want %d", test.p, len(test.of), got, test.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := commas(n); got != want {
			t.Errorf("commas(%d) = %q, want %q", n, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0.000", 0.15: "0.150", 1.5: "1.50", 33.74: "33.7", 225.4: "225"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
}
