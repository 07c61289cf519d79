//! The requests and answers of the protocol, and the two traits behind which a library stands.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Whatever goes wrong becomes the text of the answer.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Octets are base64 in JSON.
#[derive(Clone, Default)]
pub struct Octets(pub Vec<u8>);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD
            .decode(text)
            .map(Octets)
            .map_err(D::Error::custom)
    }
}

/// One line of input.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Request {
    Hello,
    Client {
        suite: u16,
        name: String,
        #[serde(default)]
        encrypt_handshake: bool,
    },
    KeyPackage,
    Psk {
        id: Octets,
        secret: Octets,
    },
    Create {
        group_id: Octets,
    },
    Join {
        welcome: Octets,
        tree: Option<Octets>,
    },
    GroupInfo,
    JoinExternal {
        group_info: Octets,
        tree: Option<Octets>,
        remove_leaf: Option<u32>,
    },
    Commit(CommitRequest),
    Merge,
    Discard,
    Propose(Proposal),
    Encrypt {
        data: Octets,
        #[serde(default)]
        aad: Octets,
    },
    Process {
        message: Octets,
    },
    State,
    #[serde(other)]
    Unknown,
}

/// What a Commit shall cover besides the proposals that are pending.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub struct CommitRequest {
    pub adds: Vec<Octets>,
    pub removes: Vec<u32>,
    pub psks: Vec<Octets>,
    /// Have an UpdatePath even where no proposal requires one.
    pub path: bool,
    pub aad: Octets,
    /// Put the ratchet tree into the GroupInfo of the Welcome.
    pub tree_in_welcome: bool,
}

/// A proposal to be sent by reference.
#[derive(Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Proposal {
    Add { key_package: Octets },
    Remove { leaf: u32 },
    Update,
    Psk { id: Octets },
    SelfRemove,
}

/// Who we are and what we can do.
#[derive(Serialize)]
pub struct Hello {
    pub peer: &'static str,
    pub version: &'static str,
    pub suites: Vec<u16>,
    pub ops: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupInfo {
    pub group_info: Octets,
    pub tree: Octets,
}

#[derive(Serialize)]
pub struct Commit {
    pub commit: Octets,
    pub welcome: Option<Octets>,
    /// The ratchet tree of the epoch that the Commit starts, where it can be had before the merge.
    pub tree: Option<Octets>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Processed {
    Application {
        data: Octets,
        aad: Octets,
        sender: u32,
    },
    Proposal,
    Commit {
        removed: bool,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub epoch: u64,
    pub tree_hash: Octets,
    pub authenticator: Octets,
    pub exporter: Octets,
    pub members: Vec<u32>,
    pub leaf: u32,
}

/// An MLS library.
pub trait Library {
    fn hello(&self) -> Hello;
    /// A new client with a signature key, a basic credential and capabilities that cover the suite.
    fn client(&self, suite: u16, name: String, encrypt_handshake: bool) -> Result<Box<dyn Client>>;
}

/// A client of an MLS library, in one group at a time.
pub trait Client {
    fn key_package(&mut self) -> Result<Octets>;
    fn psk(&mut self, id: Octets, secret: Octets) -> Result<()>;
    fn create(&mut self, group_id: Octets) -> Result<()>;
    fn join(&mut self, welcome: &Octets, tree: Option<&Octets>) -> Result<()>;
    fn group_info(&mut self) -> Result<GroupInfo>;
    /// The new group is already that of the epoch after the external Commit that is returned.
    fn join_external(
        &mut self,
        group_info: &Octets,
        tree: Option<&Octets>,
        remove_leaf: Option<u32>,
    ) -> Result<Octets>;
    /// The Commit is pending until merge or discard.
    fn commit(&mut self, request: CommitRequest) -> Result<Commit>;
    fn merge(&mut self) -> Result<()>;
    fn discard(&mut self) -> Result<()>;
    fn propose(&mut self, proposal: Proposal) -> Result<Octets>;
    fn encrypt(&mut self, data: Octets, aad: Octets) -> Result<Octets>;
    fn process(&mut self, message: &Octets) -> Result<Processed>;
    fn state(&mut self) -> Result<State>;
}

/// The exporter that `state` shows: MLS-Exporter(EXPORTER_LABEL, EXPORTER_CONTEXT, EXPORTER_LENGTH).
pub const EXPORTER_LABEL: &str = "interop";
pub const EXPORTER_CONTEXT: &[u8] = b"context";
pub const EXPORTER_LENGTH: usize = 32;

/// The ops that every library does, and the further ones of this library.
pub fn ops(more: &[&'static str]) -> Vec<&'static str> {
    let common = "hello client keyPackage psk create join groupInfo joinExternal commit merge discard propose encrypt \
        process state client.encryptHandshake join.tree joinExternal.removeLeaf commit.psk commit.path \
        commit.treeInWelcome proposal.add proposal.remove proposal.update proposal.psk";
    common.split(' ').chain(more.iter().copied()).collect()
}

/// The version of a crate, from the lock file we were built with.
pub fn locked_version(name: &str) -> &'static str {
    let mut lines = include_str!("../Cargo.lock").lines();
    lines.find(|line| *line == format!("name = \"{name}\""));
    let version = lines
        .next()
        .and_then(|line| line.strip_prefix("version = "));
    version.unwrap_or("?").trim_matches('"')
}
