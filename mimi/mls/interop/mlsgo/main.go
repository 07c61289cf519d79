// Mlsgo is a peer of the interoperability tests of kith/mimi/mls: it speaks their protocol over the library
// github.com/thomas-vilte/mls-go. It is a module of its own so that the product never depends on that library.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	mls "github.com/thomas-vilte/mls-go"
)

// request is one line from the driver; each operation has its own fields.
type request struct {
	Op               string   `json:"op"`
	Suite            uint16   `json:"suite"`
	Name             string   `json:"name"`
	EncryptHandshake bool     `json:"encryptHandshake"`
	GroupID          []byte   `json:"groupId"`
	ID               []byte   `json:"id"`
	Secret           []byte   `json:"secret"`
	KeyPackage       []byte   `json:"keyPackage"`
	Welcome          []byte   `json:"welcome"`
	Tree             []byte   `json:"tree"`
	GroupInfo        []byte   `json:"groupInfo"`
	RemoveLeaf       *uint32  `json:"removeLeaf"`
	Adds             [][]byte `json:"adds"`
	Removes          []uint32 `json:"removes"`
	PSKs             [][]byte `json:"psks"`
	Path             bool     `json:"path"`
	TreeInWelcome    bool     `json:"treeInWelcome"`
	Kind             string   `json:"kind"`
	Leaf             uint32   `json:"leaf"`
	Data             []byte   `json:"data"`
	AAD              []byte   `json:"aad"`
	Message          []byte   `json:"message"`
}

type fields map[string]any

var operations = map[string]func(*client, request) (fields, error){
	"hello":        (*client).hello,
	"client":       (*client).begin,
	"keyPackage":   (*client).keyPackage,
	"psk":          (*client).psk,
	"create":       (*client).create,
	"join":         (*client).join,
	"joinExternal": (*client).joinExternal,
	"groupInfo":    (*client).groupInfo,
	"commit":       (*client).commit,
	"merge":        (*client).merge,
	"discard":      (*client).discard,
	"propose":      (*client).propose,
	"encrypt":      (*client).encrypt,
	"process":      (*client).process,
	"state":        (*client).state,
}

// outside are the operations that need no group.
var outside = map[string]bool{"hello": true, "client": true, "keyPackage": true, "psk": true, "create": true, "join": true, "joinExternal": true}

func main() {
	in := bufio.NewReader(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	c := new(client)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return // the driver has closed our stdin
		}
		if err := out.Encode(answer(c, line)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// answer carries out one request. A panic of the library is an error of that request.
func answer(c *client, line []byte) (out fields) {
	defer func() {
		if p := recover(); p != nil {
			out = fields{"error": fmt.Sprintf("panic: %v", p)}
		}
	}()
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return fields{"error": err.Error()}
	}
	run, ok := operations[r.Op]
	if !ok {
		return fields{"error": "unsupported"}
	}
	if !outside[r.Op] && c.group == nil {
		return fields{"error": "no group"}
	}
	result, err := run(c, r)
	if err != nil {
		return fields{"error": err.Error()}
	}
	if result == nil {
		result = fields{}
	}
	return fields{"ok": result}
}

func (c *client) hello(request) (fields, error) {
	return fields{
		"peer":    "mls-go",
		"version": mls.Version,
		"suites":  []int{1, 2, 3, 5},
		"ops": []string{"commit.treeInWelcome", "commit.psk", "propose.add", "propose.remove", "propose.update",
			"propose.psk", "joinExternal.resync", "encryptHandshake"},
	}, nil
}

var errNotExpected = errors.New("a message of another kind was expected")
