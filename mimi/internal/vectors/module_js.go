package vectors

const moduleFolder = ""

// moduleDir is empty under js/wasm, where no process can be started.
func moduleDir() string { return "" }
