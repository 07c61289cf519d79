//go:build !js

package interop

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// request is one line to a peer; which fields an operation takes is said in doc.go.
type request struct {
	Op               string   `json:"op"`
	Suite            uint16   `json:"suite,omitempty"`
	Name             string   `json:"name,omitempty"`
	EncryptHandshake bool     `json:"encryptHandshake,omitempty"`
	GeneratedKey     bool     `json:"generatedKey,omitempty"`
	GroupID          []byte   `json:"groupId,omitempty"`
	ID               []byte   `json:"id,omitempty"`
	Secret           []byte   `json:"secret,omitempty"`
	KeyPackage       []byte   `json:"keyPackage,omitempty"`
	Welcome          []byte   `json:"welcome,omitempty"`
	Tree             []byte   `json:"tree,omitempty"`
	GroupInfo        []byte   `json:"groupInfo,omitempty"`
	RemoveLeaf       *uint32  `json:"removeLeaf,omitempty"`
	Adds             [][]byte `json:"adds,omitempty"`
	Removes          []uint32 `json:"removes,omitempty"`
	PSKs             [][]byte `json:"psks,omitempty"`
	Path             bool     `json:"path,omitempty"`
	TreeInWelcome    bool     `json:"treeInWelcome,omitempty"`
	Kind             string   `json:"kind,omitempty"`
	Leaf             uint32   `json:"leaf"`
	Data             []byte   `json:"data,omitempty"`
	AAD              []byte   `json:"aad,omitempty"`
	Message          []byte   `json:"message,omitempty"`
}

// reply is what a peer answers: the fields of the operation.
type reply struct {
	Peer          string   `json:"peer"`
	Version       string   `json:"version"`
	Suites        []uint16 `json:"suites"`
	Ops           []string `json:"ops"`
	KeyPackage    []byte   `json:"keyPackage"`
	GroupInfo     []byte   `json:"groupInfo"`
	Tree          []byte   `json:"tree"`
	Commit        []byte   `json:"commit"`
	Welcome       []byte   `json:"welcome"`
	Message       []byte   `json:"message"`
	Kind          string   `json:"kind"`
	Data          []byte   `json:"data"`
	AAD           []byte   `json:"aad"`
	Sender        *uint32  `json:"sender"`
	Removed       bool     `json:"removed"`
	Epoch         uint64   `json:"epoch"`
	TreeHash      []byte   `json:"treeHash"`
	Authenticator []byte   `json:"authenticator"`
	Exporter      []byte   `json:"exporter"`
	Members       []uint32 `json:"members"`
	Leaf          uint32   `json:"leaf"`
}

// peer is one client of one implementation, in at most one group. do of the operation "client" begins anew.
type peer interface {
	do(r request) (reply, error)
	close() error
}

// unsupportedError is the answer of a peer whose library cannot do what was asked.
type unsupportedError struct{ why string }

func (e unsupportedError) Error() string { return "unsupported: " + e.why }

// answerTimeout is far above what any operation takes, so that a peer that hangs is a failure and not a hung test.
const answerTimeout = 60 * time.Second

// process is a peer in a process of its own.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *tail
}

// tail keeps the end of what a process says on stderr.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-2000):]
	return len(p), nil
}

func startProcess(command []string) (*process, error) {
	p := &process{cmd: exec.Command(command[0], command[1:]...), stderr: new(tail)}
	p.cmd.Stderr = p.stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in, p.out = in, bufio.NewReader(out)
	return p, p.cmd.Start()
}

func (p *process) do(r request) (reply, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return reply{}, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return reply{}, p.died(err)
	}
	hung := time.AfterFunc(answerTimeout, func() { _ = p.cmd.Process.Kill() })
	answer, err := p.out.ReadBytes('\n')
	hung.Stop()
	if err != nil {
		return reply{}, p.died(err)
	}
	return parseAnswer(answer)
}

func (p *process) died(err error) error {
	_ = p.close() // the error of interest is the one we have; closing flushes stderr
	return fmt.Errorf("the process ended: %w: %s", err, p.stderr.text)
}

func parseAnswer(line []byte) (reply, error) {
	var answer struct {
		OK    *reply  `json:"ok"`
		Error *string `json:"error"`
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return reply{}, fmt.Errorf("answer is not of the protocol: %w", err)
	}
	switch {
	case answer.OK != nil && answer.Error == nil:
		return *answer.OK, nil
	case answer.Error == nil:
		return reply{}, errors.New("answer is neither ok nor error")
	}
	if why, ok := strings.CutPrefix(*answer.Error, "unsupported"); ok {
		return reply{}, unsupportedError{strings.TrimLeft(why, ": ")}
	}
	return reply{}, errors.New(*answer.Error)
}

// close ends the process by closing its stdin, and by force if that is not heard.
func (p *process) close() error {
	if err := p.in.Close(); err != nil {
		return err
	}
	hung := time.AfterFunc(answerTimeout, func() { _ = p.cmd.Process.Kill() })
	defer hung.Stop()
	return p.cmd.Wait()
}
