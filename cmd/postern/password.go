package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// readPassword asks for a password twice on a terminal, without showing it; else it is the first
// line of standard input. It never comes from the command line, which others can read. "" is none.
func readPassword(prompt io.Writer) (string, error) {
	fd := int(os.Stdin.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return readLine(bufio.NewReader(io.LimitReader(os.Stdin, maxLine+2)))
	}
	hidden := *old
	hidden.Lflag = hidden.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	defer unix.IoctlSetTermios(fd, unix.TCSETS, old)
	in := bufio.NewReader(io.LimitReader(os.Stdin, 2*maxLine))
	ask := func(what string) (string, error) {
		fmt.Fprint(prompt, what)
		line, err := readLine(in)
		fmt.Fprintln(prompt)
		return line, err
	}
	first, err := ask("Password (12 characters at least; empty for none): ")
	if err != nil || first == "" {
		return "", err
	}
	second, err := ask("Once more: ")
	if err == nil && first != second {
		err = errors.New("these are two different passwords: nothing was changed")
	}
	return first, err
}

// maxLine bounds what is read of a line.
const maxLine = 4096

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if len(line) > maxLine {
		return "", errors.New("password: that is too long a line")
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("password: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}
