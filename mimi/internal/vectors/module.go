//go:build !js

package vectors

import (
	"encoding/json"
	"os/exec"
	"sync"
)

// The pinned module whose zip carries the MLS vector files, and where in it they lie.
const (
	module       = "github.com/thomas-vilte/mls-go@v1.6.0"
	moduleFolder = "testdata/mls-interop-testvectors/test-vectors"
)

// moduleDir is the directory of the pinned module in the module cache, downloaded if need be, or "".
var moduleDir = sync.OnceValue(func() string {
	out, err := exec.Command("go", "mod", "download", "-json", module).Output()
	if err != nil {
		return ""
	}
	var info struct{ Dir string }
	if json.Unmarshal(out, &info) != nil {
		return ""
	}
	return info.Dir
})
