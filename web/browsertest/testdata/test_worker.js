// Runs the Go tests of web/wasm whose names match ?run= and answers with what they print and their exit code.
const lines = [];
console.log = (line) => lines.push(String(line));
await import('/wasm_exec.js');
await import('/x25519.js');
const go = new Go();
let code = -1;
go.argv = ['tests', '-test.v', `-test.run=${new URL(self.location.href).searchParams.get('run')}`];
go.exit = (c) => { code = c; };
const { instance } = await WebAssembly.instantiateStreaming(fetch('/engine.wasm'), go.importObject);
await go.run(instance);
self.postMessage(`${lines.join('\n')}\nexit code ${code}`);
