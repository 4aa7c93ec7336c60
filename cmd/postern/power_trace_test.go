package main

import (
	"bufio"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// powerCalls are the system calls that change a folder, and those that speak to clients.
const powerCalls = "open,openat,creat,close,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,link,linkat," +
	"write,pwrite64,writev,pwritev,pwritev2,sendto,fsync,fdatasync,ftruncate,truncate,fallocate,copy_file_range,sendfile"

// straceRecord are the arguments under which strace records them, byte for byte.
func straceRecord(file string) []string {
	return []string{"-D", "-f", "-xx", "-y", "-s", "40000000", "--seccomp-bpf", "-e", "signal=none", "-e", "trace=" + powerCalls, "-o", file}
}

// A powerStep is one change of the world: fn makes it. said is what a client is told from then on.
type powerStep struct {
	fn   func()
	said string
}

// powerSteps reads a record: what changes disk, and when clients are told something, in that order.
func powerSteps(t *testing.T, file string, d *powerDisk) (steps []powerStep) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(make([]byte, 1<<20), 256<<20)
	begun := map[string]*powerCall{} // by thread
	resumed := regexp.MustCompile(`^<\.\.\. \w+ resumed>`)
	for in.Scan() {
		thread, text, _ := strings.Cut(in.Text(), " ")
		text = strings.TrimLeft(text, " ")
		start, unfinished := strings.CutSuffix(text, " <unfinished ...>")
		r := resumed.FindString(text)
		if r == "" {
			if !strings.Contains(start, "(") {
				continue // +++ exited
			}
			begun[thread] = &powerCall{t: t, d: d, text: start}
			steps = append(steps, powerStep{begun[thread].begin, begun[thread].said()})
		} else if begun[thread] == nil {
			continue
		} else {
			begun[thread].text += text[len(r):]
		}
		if !unfinished {
			steps = append(steps, powerStep{begun[thread].end, ""})
			delete(begun, thread)
		}
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	return steps
}

// A powerCall is one system call.
type powerCall struct {
	t    *testing.T
	d    *powerDisk
	text string // all that is known of it in the end
	done func() // of a sync
}

// parts gives its name, its arguments and what it returned.
func (c *powerCall) parts() (name string, args []string, result string) {
	name, rest, _ := strings.Cut(c.text, "(")
	if i := strings.LastIndex(rest, ") "); i >= 0 {
		if _, after, found := strings.Cut(rest[i:], "= "); found {
			result, rest = after, rest[:i]
		}
	}
	return name, strings.Split(strings.TrimSuffix(rest, ")"), ", "), result
}

// plain takes \xNN apart, and quotes away.
func plain(s string) []byte {
	s = strings.Trim(s, `"`)
	out, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	if err != nil {
		return []byte(s)
	}
	return out
}

// descriptor is the number and the name of a descriptor: 7<\x2f…>.
func descriptor(arg string) (fd, name string) {
	fd, name, _ = strings.Cut(arg, "<")
	return fd, string(plain(strings.TrimSuffix(name, ">")))
}

// file is the place of a name, which may stand in a folder that an argument before it names.
func (c *powerCall) file(dir, name string) (string, bool) {
	at := string(plain(name))
	if !strings.HasPrefix(at, "/") && dir != "" {
		_, in := descriptor(dir)
		at = filepath.Join(in, at)
	}
	return c.d.place(filepath.Clean(at))
}

var quotedBytes = regexp.MustCompile(`"[^"]*"`)

func bytesOf(args []string) (b []byte) {
	for _, s := range quotedBytes.FindAllString(strings.Join(args, ", "), -1) {
		b = append(b, plain(s)...)
	}
	return b
}

// said is what a call tells the other end of a connection.
func (c *powerCall) said() string {
	name, args, _ := c.parts()
	if _, on := descriptor(args[0]); (name == "write" || name == "writev" || name == "sendto") && strings.HasPrefix(on, "socket:") {
		return string(bytesOf(args[1:]))
	}
	return ""
}

// begin is called when the call begins: what a sync is to make sure of is known then.
func (c *powerCall) begin() {
	name, args, _ := c.parts()
	fd, _ := descriptor(args[0])
	switch name {
	case "close":
		delete(c.d.open, fd)
	case "fsync", "fdatasync":
		if h := c.d.open[fd]; h != nil {
			c.done = c.d.syncing(h)
		}
	}
}

// end is called when it has returned.
func (c *powerCall) end() {
	name, args, result := c.parts()
	if result == "" || result[0] == '-' || result[0] == '?' {
		return
	}
	fd, _ := descriptor(args[0])
	h := c.d.open[fd]
	switch name {
	case "open", "creat", "openat":
		dir := ""
		if name == "openat" {
			dir, args = args[0], args[1:]
		}
		if at, ours := c.file(dir, args[0]); ours {
			fd, _ := descriptor(strings.Fields(result)[0])
			c.d.opened(fd, at, args[1])
		}
	case "mkdir":
		c.made("", args[0])
	case "mkdirat":
		c.made(args[0], args[1])
	case "unlink":
		c.moved("", args[0], "", "")
	case "unlinkat":
		c.moved(args[0], args[1], "", "")
	case "link":
		c.linked("", args[0], "", args[1])
	case "linkat":
		c.linked(args[0], args[1], args[2], args[3])
	case "rename":
		c.moved("", args[0], "", args[1])
	case "renameat", "renameat2":
		c.moved(args[0], args[1], args[2], args[3])
	case "fsync", "fdatasync":
		if c.done != nil {
			c.done()
		}
	case "write", "writev":
		if h != nil {
			h.write(-1, bytesOf(args[1:]))
		}
	case "pwrite64":
		if h != nil {
			h.write(c.number(args[3]), bytesOf(args[1:2]))
		}
	case "ftruncate":
		if h != nil {
			h.file.change(dataChange{at: c.number(args[1])})
		}
	default:
		if h != nil && name != "close" && name != "sendto" {
			c.t.Errorf("a call that is not understood: %.200s", c.text)
		}
	}
}

func (c *powerCall) number(s string) int64 {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		c.t.Errorf("%v: %.200s", err, c.text)
	}
	return n
}

func (c *powerCall) made(dir, name string) {
	if at, ours := c.file(dir, name); ours && at != "." {
		c.d.rename("", at, &powerFile{dir: true})
	}
}

func (c *powerCall) linked(dir, name, toDir, to string) {
	from, _ := c.file(dir, name)
	if at, ours := c.file(toDir, to); ours {
		c.d.rename("", at, c.d.now[from])
	}
}

func (c *powerCall) moved(dir, name, toDir, to string) {
	from, ours := c.file(dir, name)
	f := c.d.now[from]
	if !ours || f == nil {
		return
	}
	next := ""
	if to != "" {
		next, _ = c.file(toDir, to)
	}
	c.d.rename(from, next, f)
}
