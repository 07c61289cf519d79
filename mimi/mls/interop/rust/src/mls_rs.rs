//! mls-rs: a `Client` built from providers and rules, and a `Group` that holds them.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use mls_rs::{
    CipherSuiteProvider, CryptoProvider, Group, MlsMessage, MlsRules,
    client_builder::{MlsConfig, PaddingMode},
    group::{CommitEffect, ExportedTree, GroupContext, ReceivedMessage, Roster},
    identity::{
        SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
    mls_rules::{CommitDirection, CommitOptions, CommitSource, EncryptionOptions, ProposalBundle},
    psk::{ExternalPskId, PreSharedKey},
    storage_provider::in_memory::InMemoryPreSharedKeyStorage,
};
use mls_rs_crypto_openssl::OpensslCryptoProvider;

use crate::protocol::{
    self, Client, Commit, CommitRequest, GroupInfo, Hello, Library, Octets, Processed, Proposal,
    Result, State,
};

/// What the OpenSSL provider can do of what is asked for: it has 4 and 6 (X448, Ed448) too.
const SUITES: [u16; 5] = [1, 2, 3, 5, 7];

/// mls-rs as a library of the protocol.
pub struct MlsRs;

impl Library for MlsRs {
    fn hello(&self) -> Hello {
        Hello {
            peer: "mls-rs",
            version: protocol::locked_version("mls-rs"),
            suites: SUITES.to_vec(),
            ops: protocol::ops(&[]),
        }
    }

    fn client(&self, suite: u16, name: String, encrypt_handshake: bool) -> Result<Box<dyn Client>> {
        if !SUITES.contains(&suite) {
            return Err("unsupported: cipher suite".into());
        }
        let crypto = OpensslCryptoProvider::default();
        let provider = crypto
            .cipher_suite_provider(suite.into())
            .ok_or("unsupported: cipher suite")?;
        let (secret, public) = provider.signature_key_generate()?;
        let credential = BasicCredential::new(name.into_bytes()).into_credential();
        let rules = Rules {
            encrypt_handshake,
            commit: Arc::default(),
        };
        let psks = InMemoryPreSharedKeyStorage::default();
        // Capabilities follow from the providers: every suite of OpenSSL is listed.
        let client = mls_rs::Client::builder()
            .crypto_provider(crypto)
            .identity_provider(BasicIdentityProvider)
            .psk_store(psks.clone())
            .mls_rules(rules.clone())
            .signing_identity(
                SigningIdentity::new(credential, public),
                secret,
                suite.into(),
            )
            .build();
        Ok(Box::new(Member {
            client,
            rules,
            psks,
            group: None,
        }))
    }
}

/// What the library asks an application about each message that it makes.
#[derive(Clone)]
struct Rules {
    encrypt_handshake: bool,
    /// Shared with the member, who sets them for the next Commit.
    commit: Arc<Mutex<CommitOptions>>,
}

impl MlsRules for Rules {
    type Error = Infallible;

    fn filter_proposals(
        &self,
        _: CommitDirection,
        _: CommitSource,
        _: &Roster,
        _: &GroupContext,
        proposals: ProposalBundle,
    ) -> std::result::Result<ProposalBundle, Infallible> {
        Ok(proposals)
    }

    fn commit_options(
        &self,
        _: &Roster,
        _: &GroupContext,
        _: &ProposalBundle,
    ) -> std::result::Result<CommitOptions, Infallible> {
        Ok(*self.commit.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn encryption_options(
        &self,
        _: &Roster,
        _: &GroupContext,
    ) -> std::result::Result<EncryptionOptions, Infallible> {
        Ok(EncryptionOptions::new(
            self.encrypt_handshake,
            PaddingMode::StepFunction,
        ))
    }
}

struct Member<C: MlsConfig> {
    client: mls_rs::Client<C>,
    rules: Rules,
    psks: InMemoryPreSharedKeyStorage,
    group: Option<Group<C>>,
}

impl<C: MlsConfig> Client for Member<C> {
    fn key_package(&mut self) -> Result<Octets> {
        let key_package = self.client.generate_key_package_message(
            Default::default(),
            Default::default(),
            None,
        )?;
        write(&key_package)
    }

    fn psk(&mut self, id: Octets, secret: Octets) -> Result<()> {
        self.psks
            .insert(ExternalPskId::new(id.0), PreSharedKey::new(secret.0));
        Ok(())
    }

    fn create(&mut self, group_id: Octets) -> Result<()> {
        let builder = self.client.group_builder()?.with_group_id(group_id.0);
        self.group = Some(builder.build()?);
        Ok(())
    }

    fn join(&mut self, welcome: &Octets, tree: Option<&Octets>) -> Result<()> {
        let tree = tree.map(read_tree).transpose()?;
        let (group, _) = self.client.join_group(tree, &read(welcome)?, None)?;
        self.group = Some(group);
        Ok(())
    }

    fn group_info(&mut self) -> Result<GroupInfo> {
        let group = joined(&mut self.group)?;
        Ok(GroupInfo {
            group_info: write(&group.group_info_message_allowing_ext_commit(true)?)?,
            tree: Octets(group.export_tree().to_bytes()?),
        })
    }

    fn join_external(
        &mut self,
        group_info: &Octets,
        tree: Option<&Octets>,
        remove_leaf: Option<u32>,
    ) -> Result<Octets> {
        let mut builder = self.client.external_commit_builder()?;
        if let Some(tree) = tree {
            builder = builder.with_tree_data(read_tree(tree)?);
        }
        if let Some(leaf) = remove_leaf {
            builder = builder.with_removal(leaf);
        }
        let (group, commit) = builder.build(read(group_info)?)?;
        self.group = Some(group);
        write(&commit)
    }

    fn commit(&mut self, request: CommitRequest) -> Result<Commit> {
        let options = CommitOptions::new()
            .with_path_required(request.path)
            .with_ratchet_tree_extension(request.tree_in_welcome);
        *self.rules.commit.lock().map_err(|e| e.to_string())? = options;
        let mut builder = joined(&mut self.group)?
            .commit_builder()
            .authenticated_data(request.aad.0);
        for key_package in &request.adds {
            builder = builder.add_member(read(key_package)?)?;
        }
        for leaf in request.removes {
            builder = builder.remove_member(leaf)?;
        }
        for id in request.psks {
            builder = builder.add_external_psk(ExternalPskId::new(id.0))?;
        }
        let output = builder.build()?;
        let tree = output
            .ratchet_tree
            .map(|tree| tree.to_bytes())
            .transpose()?;
        Ok(Commit {
            commit: write(&output.commit_message)?,
            welcome: output.welcome_messages.first().map(write).transpose()?,
            tree: tree.map(Octets),
        })
    }

    fn merge(&mut self) -> Result<()> {
        joined(&mut self.group)?.apply_pending_commit()?;
        Ok(())
    }

    fn discard(&mut self) -> Result<()> {
        joined(&mut self.group)?.clear_pending_commit();
        Ok(())
    }

    fn propose(&mut self, proposal: Proposal) -> Result<Octets> {
        let group = joined(&mut self.group)?;
        let aad = Vec::new();
        let message = match proposal {
            Proposal::Add { key_package } => group.propose_add(read(&key_package)?, aad)?,
            Proposal::Remove { leaf } => group.propose_remove(leaf, aad)?,
            Proposal::Update => group.propose_update(aad)?,
            Proposal::Psk { id } => group.propose_external_psk(ExternalPskId::new(id.0), aad)?,
            Proposal::SelfRemove => return Err(NO_SELF_REMOVE.into()),
        };
        write(&message)
    }

    fn encrypt(&mut self, data: Octets, aad: Octets) -> Result<Octets> {
        write(&joined(&mut self.group)?.encrypt_application_message(&data.0, aad.0)?)
    }

    fn process(&mut self, message: &Octets) -> Result<Processed> {
        match joined(&mut self.group)?.process_incoming_message(read(message)?)? {
            ReceivedMessage::ApplicationMessage(message) => Ok(Processed::Application {
                data: Octets(message.data().to_vec()),
                sender: message.sender_index,
                aad: Octets(message.authenticated_data),
            }),
            ReceivedMessage::Proposal(_) => Ok(Processed::Proposal),
            ReceivedMessage::Commit(commit) => Ok(Processed::Commit {
                removed: matches!(commit.effect, CommitEffect::Removed { .. }),
            }),
            _ => Err("unsupported: content of the message".into()),
        }
    }

    fn state(&mut self) -> Result<State> {
        let group = joined(&mut self.group)?;
        let exporter = group.export_secret(
            protocol::EXPORTER_LABEL.as_bytes(),
            protocol::EXPORTER_CONTEXT,
            protocol::EXPORTER_LENGTH,
        )?;
        Ok(State {
            epoch: group.current_epoch(),
            tree_hash: Octets(group.context().tree_hash.clone()),
            authenticator: Octets(group.epoch_authenticator()?.to_vec()),
            exporter: Octets(exporter.to_vec()),
            members: group.roster().members_iter().map(|m| m.index).collect(),
            leaf: group.current_member_index(),
        })
    }
}

const NO_SELF_REMOVE: &str = "unsupported: SelfRemove is 0xF003 here, not the draft's 0x000A";

fn joined<C: MlsConfig>(group: &mut Option<Group<C>>) -> Result<&mut Group<C>> {
    group.as_mut().ok_or("no group yet".into())
}

fn read(octets: &Octets) -> Result<MlsMessage> {
    Ok(MlsMessage::from_bytes(&octets.0)?)
}

fn read_tree(octets: &Octets) -> Result<ExportedTree<'static>> {
    Ok(ExportedTree::from_bytes(&octets.0)?)
}

fn write(message: &MlsMessage) -> Result<Octets> {
    Ok(Octets(message.to_bytes()?))
}
