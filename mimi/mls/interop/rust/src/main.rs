//! Drives a Rust MLS library through the JSON-lines protocol of mimi/mls/interop: one request per line on standard
//! input, one answer per line on standard output. The first argument names the library: `openmls` or `mls-rs`.
//!
//! How each library is used is in `openmls.rs` and `mls_rs.rs`. What they lack or do otherwise than the specifications
//! say, as found by running them against each other and against kith/mimi/mls (the cause then in their source):
//!
//! OpenMLS 0.9
//! - RFC 9420, Sections 8.4 and 12.4.2: PSKs enter the key schedule in the order in which the Commit lists them. As a
//!   committer it lists those that were proposed before its own of this Commit, but hashes its own first. If it adds a PSK
//!   by value while one is pending by reference, everybody refuses the confirmation tag, OpenMLS too. Its receiving side
//!   is right.
//! - RFC 9420, Section 17.1: no suite with P-384 or P-521 (5 and 7); of the providers, RustCrypto has 1, 2 and 3,
//!   libcrux 1, 3 and X-Wing.
//! - X-Wing has the unregistered number 0x004D. Its DeriveKeyPair is the plain SHAKE256 of
//!   draft-connolly-cfrg-xwing-kem-06, not the labelled one of draft-ietf-hpke-pq: libraries that differ in this cannot
//!   decrypt each other's path secrets, although keys, ciphertexts and KEM identifier (0x647A) look the same.
//! - RFC 9420, Section 12.4.3.2: an external Commit removes the leaf with the joiner's own signature key and no other,
//!   unasked. Who lost that key cannot resynchronize.
//!
//! mls-rs 0.57
//! - draft-ietf-mls-extensions, Section 6.3: SelfRemove has the private number 0xF003, not 0x000A, so it can neither be
//!   sent to others nor read from them; a proposal of an unknown type is read as if it began with a vector.
//! - No X-Wing: its post-quantum suites have private numbers.
//!
//! Both refuse to encrypt application data while a proposal is pending, as RFC 9420, Section 12.4 has it.

mod mls_rs;
mod openmls;
mod protocol;

use std::io::{BufRead, Write};

use protocol::{Client, Library, Request, Result};
use serde_json::{Value, json};

fn main() -> Result<()> {
    let library: &dyn Library = match std::env::args().nth(1).as_deref() {
        Some("openmls") => &openmls::OpenMls,
        Some("mls-rs") => &mls_rs::MlsRs,
        _ => return Err("usage: interop-rust openmls|mls-rs".into()),
    };
    let mut client = None;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = serde_json::from_str(&line?)
            .map_err(Into::into)
            .and_then(|request| answer(library, &mut client, request));
        let answer = match answer {
            Ok(ok) => json!({ "ok": ok }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(
    library: &dyn Library,
    client: &mut Option<Box<dyn Client>>,
    request: Request,
) -> Result<Value> {
    match request {
        Request::Hello => Ok(json!(library.hello())),
        Request::Client {
            suite,
            name,
            encrypt_handshake,
        } => {
            *client = Some(library.client(suite, name, encrypt_handshake)?);
            Ok(json!({}))
        }
        Request::Unknown => Err("unsupported".into()),
        request => {
            let client = client.as_mut().ok_or("no client yet")?;
            ask(client.as_mut(), request)
        }
    }
}

fn ask(client: &mut dyn Client, request: Request) -> Result<Value> {
    Ok(match request {
        Request::KeyPackage => json!({ "keyPackage": client.key_package()? }),
        Request::Psk { id, secret } => done(client.psk(id, secret)?),
        Request::Create { group_id } => done(client.create(group_id)?),
        Request::Join { welcome, tree } => done(client.join(&welcome, tree.as_ref())?),
        Request::GroupInfo => json!(client.group_info()?),
        Request::JoinExternal {
            group_info,
            tree,
            remove_leaf,
        } => json!({ "commit": client.join_external(&group_info, tree.as_ref(), remove_leaf)? }),
        Request::Commit(request) => json!(client.commit(request)?),
        Request::Merge => done(client.merge()?),
        Request::Discard => done(client.discard()?),
        Request::Propose(proposal) => json!({ "message": client.propose(proposal)? }),
        Request::Encrypt { data, aad } => json!({ "message": client.encrypt(data, aad)? }),
        Request::Process { message } => json!(client.process(&message)?),
        Request::State => json!(client.state()?),
        Request::Hello | Request::Client { .. } | Request::Unknown => {
            unreachable!("answered before")
        }
    })
}

fn done((): ()) -> Value {
    json!({})
}
