//! OpenMLS: a provider of cryptography and storage, and an `MlsGroup` that takes it with every call.

use openmls::{
    prelude::{tls_codec::*, *},
    schedule::{ExternalPsk, PreSharedKeyId, Psk},
    storage::OpenMlsProvider,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_libcrux_crypto::Provider as LibcruxProvider;
use openmls_rust_crypto::OpenMlsRustCrypto;

use crate::protocol::{self, Client, Hello, Library, Octets, Processed, Result, State};

/// The suites of the provider on RustCrypto. The other provider adds X-Wing, which is 0x004D here.
const SUITES: [u16; 3] = [0x0001, 0x0002, 0x0003];
const X_WING: u16 = 0x004D;

/// OpenMLS as a library of the protocol.
pub struct OpenMls;

impl Library for OpenMls {
    fn hello(&self) -> Hello {
        Hello {
            peer: "openmls",
            version: protocol::locked_version("openmls"),
            suites: [SUITES.as_slice(), &[X_WING]].concat(),
            ops: protocol::ops(&["proposal.selfRemove"]),
        }
    }

    fn client(&self, suite: u16, name: String, encrypt_handshake: bool) -> Result<Box<dyn Client>> {
        match suite {
            X_WING => member(LibcruxProvider::new()?, suite, name, encrypt_handshake),
            suite if SUITES.contains(&suite) => {
                member(OpenMlsRustCrypto::default(), suite, name, encrypt_handshake)
            }
            _ => Err("unsupported: cipher suite".into()),
        }
    }
}

struct Member<P> {
    provider: P,
    suite: Ciphersuite,
    signer: SignatureKeyPair,
    credential: CredentialWithKey,
    config: MlsGroupJoinConfig,
    group: Option<MlsGroup>,
}

fn member<P: OpenMlsProvider + 'static>(
    provider: P,
    suite: u16,
    name: String,
    encrypt_handshake: bool,
) -> Result<Box<dyn Client>> {
    let suite = Ciphersuite::try_from(suite)?;
    let signer = SignatureKeyPair::new(suite.signature_algorithm())?;
    let credential = CredentialWithKey {
        credential: BasicCredential::new(name.into_bytes()).into(),
        signature_key: signer.public().into(),
    };
    // The default is strict: PrivateMessage only, no past epoch, five messages out of order.
    let config = MlsGroupJoinConfig::builder()
        .wire_format_policy(match encrypt_handshake {
            true => MIXED_CIPHERTEXT_WIRE_FORMAT_POLICY,
            false => MIXED_PLAINTEXT_WIRE_FORMAT_POLICY,
        })
        .sender_ratchet_configuration(SenderRatchetConfiguration::new(100, 1000))
        .max_past_epochs(PAST_EPOCHS)
        .build();
    Ok(Box::new(Member {
        provider,
        suite,
        signer,
        credential,
        config,
        group: None,
    }))
}

impl<P: OpenMlsProvider> Member<P> {
    /// The default lists suites 1 to 3 and no proposal beyond those of RFC 9420.
    fn capabilities(&self) -> Capabilities {
        Capabilities::builder()
            .ciphersuites(vec![self.suite])
            .proposals(vec![ProposalType::SelfRemove])
            .build()
    }

    fn validated(&self, key_package: &Octets) -> Result<KeyPackage> {
        match read::<MlsMessageIn>(key_package)?.extract() {
            MlsMessageBodyIn::KeyPackage(key_package) => {
                Ok(key_package.validate(self.provider.crypto(), ProtocolVersion::Mls10)?)
            }
            _ => Err("not a KeyPackage".into()),
        }
    }

    fn psk_id(&self, id: Octets) -> Result<PreSharedKeyId> {
        let psk = Psk::External(ExternalPsk::new(id.0));
        Ok(PreSharedKeyId::new(self.suite, self.provider.rand(), psk)?)
    }
}

impl<P: OpenMlsProvider + 'static> Client for Member<P> {
    fn key_package(&mut self) -> Result<Octets> {
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(self.capabilities())
            .build(
                self.suite,
                &self.provider,
                &self.signer,
                self.credential.clone(),
            )?;
        write(&MlsMessageOut::from(bundle))
    }

    fn psk(&mut self, id: Octets, secret: Octets) -> Result<()> {
        Ok(self.psk_id(id)?.store(&self.provider, &secret.0)?)
    }

    fn create(&mut self, group_id: Octets) -> Result<()> {
        let group = MlsGroup::builder()
            .with_group_id(GroupId::from_slice(&group_id.0))
            .ciphersuite(self.suite)
            .with_capabilities(self.capabilities())
            .with_wire_format_policy(self.config.wire_format_policy())
            .sender_ratchet_configuration(self.config.sender_ratchet_configuration().clone())
            .max_past_epochs(PAST_EPOCHS)
            .build(&self.provider, &self.signer, self.credential.clone())?;
        self.group = Some(group);
        Ok(())
    }

    fn join(&mut self, welcome: &Octets, tree: Option<&Octets>) -> Result<()> {
        let MlsMessageBodyIn::Welcome(welcome) = read::<MlsMessageIn>(welcome)?.extract() else {
            return Err("not a Welcome".into());
        };
        let tree = tree.map(read::<RatchetTreeIn>).transpose()?;
        let staged = StagedWelcome::new_from_welcome(&self.provider, &self.config, welcome, tree)?;
        self.group = Some(staged.into_group(&self.provider)?);
        Ok(())
    }

    fn group_info(&mut self) -> Result<protocol::GroupInfo> {
        let group = joined(&mut self.group)?;
        let group_info = group.export_group_info(self.provider.crypto(), &self.signer, true)?;
        Ok(protocol::GroupInfo {
            group_info: write(&group_info)?,
            tree: write(&group.export_ratchet_tree())?,
        })
    }

    fn join_external(
        &mut self,
        group_info: &Octets,
        tree: Option<&Octets>,
        remove_leaf: Option<u32>,
    ) -> Result<Octets> {
        let MlsMessageBodyIn::GroupInfo(group_info) = read::<MlsMessageIn>(group_info)?.extract()
        else {
            return Err("not a GroupInfo".into());
        };
        let mut builder = MlsGroup::external_commit_builder().with_config(self.config.clone());
        if let Some(tree) = tree {
            builder = builder.with_ratchet_tree(read(tree)?);
        }
        let leaf = LeafNodeParameters::builder()
            .with_capabilities(self.capabilities())
            .build();
        let (group, bundle) = builder
            .build_group(&self.provider, group_info, self.credential.clone())?
            .leaf_node_parameters(leaf)
            .load_psks(self.provider.storage())?
            .build(
                self.provider.rand(),
                self.provider.crypto(),
                &self.signer,
                |_| true,
            )?
            .finalize(&self.provider)?;
        // The builder chooses the Remove by itself: of the leaf with our signature key.
        let own = group.own_leaf_index();
        if remove_leaf.is_some_and(|leaf| leaf != own.u32() && leaves(&group).contains(&leaf)) {
            return Err(
                "unsupported: an external Commit removes only a leaf with its own key".into(),
            );
        }
        self.group = Some(group);
        write(bundle.commit())
    }

    fn commit(&mut self, request: protocol::CommitRequest) -> Result<protocol::Commit> {
        let mut adds = Vec::new();
        for key_package in &request.adds {
            adds.push(self.validated(key_package)?);
        }
        let mut psks = Vec::new();
        for id in request.psks {
            psks.push(Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(
                self.psk_id(id)?,
            ))));
        }
        let group = joined(&mut self.group)?;
        let old_tree = group.export_ratchet_tree();
        group.set_aad(request.aad.0);
        let bundle = group
            .commit_builder()
            .propose_adds(adds)
            .propose_removals(request.removes.into_iter().map(LeafNodeIndex::new))
            .add_proposals(psks)
            .force_self_update(request.path)
            .load_psks(self.provider.storage())?
            .use_ratchet_tree_extension(request.tree_in_welcome)
            .build(
                self.provider.rand(),
                self.provider.crypto(),
                &self.signer,
                |_| true,
            )?
            .stage_commit(&self.provider)?;
        let pending = group.pending_commit().ok_or("no pending Commit")?;
        let tree = pending
            .export_ratchet_tree(self.provider.crypto(), old_tree)?
            .ok_or("no tree")?;
        Ok(protocol::Commit {
            commit: write(bundle.commit())?,
            welcome: bundle.to_welcome_msg().as_ref().map(write).transpose()?,
            tree: Some(write(&tree)?),
        })
    }

    fn merge(&mut self) -> Result<()> {
        Ok(joined(&mut self.group)?.merge_pending_commit(&self.provider)?)
    }

    fn discard(&mut self) -> Result<()> {
        Ok(joined(&mut self.group)?.clear_pending_commit(self.provider.storage())?)
    }

    fn propose(&mut self, proposal: protocol::Proposal) -> Result<Octets> {
        let propose = match proposal {
            protocol::Proposal::Add { key_package } => Propose::Add(self.validated(&key_package)?),
            protocol::Proposal::Remove { leaf } => Propose::Remove(leaf),
            protocol::Proposal::Update => Propose::Update(LeafNodeParameters::default()),
            protocol::Proposal::Psk { id } => Propose::PreSharedKey(self.psk_id(id)?),
            protocol::Proposal::SelfRemove => {
                let group = joined(&mut self.group)?;
                return write(&group.leave_group_via_self_remove(&self.provider, &self.signer)?);
            }
        };
        let (message, _) = joined(&mut self.group)?.propose(
            &self.provider,
            &self.signer,
            propose,
            ProposalOrRefType::Reference,
        )?;
        write(&message)
    }

    fn encrypt(&mut self, data: Octets, aad: Octets) -> Result<Octets> {
        let group = joined(&mut self.group)?;
        group.set_aad(aad.0);
        write(&group.create_message(&self.provider, &self.signer, &data.0)?)
    }

    fn process(&mut self, message: &Octets) -> Result<Processed> {
        let group = joined(&mut self.group)?;
        let message = read::<MlsMessageIn>(message)?.try_into_protocol_message()?;
        let processed = group.process_message(&self.provider, message)?;
        let sender = processed.sender().clone();
        let aad = Octets(processed.aad().to_vec());
        match (processed.into_content(), sender) {
            (ProcessedMessageContent::ApplicationMessage(data), Sender::Member(leaf)) => {
                Ok(Processed::Application {
                    data: Octets(data.into_bytes()),
                    aad,
                    sender: leaf.u32(),
                })
            }
            (ProcessedMessageContent::ProposalMessage(proposal), _) => {
                group.store_pending_proposal(self.provider.storage(), *proposal)?;
                Ok(Processed::Proposal)
            }
            (ProcessedMessageContent::StagedCommitMessage(commit), _) => {
                group.merge_staged_commit(&self.provider, *commit)?;
                Ok(Processed::Commit {
                    removed: !group.is_active(),
                })
            }
            // Our own Commit came back to us.
            (ProcessedMessageContent::OwnPendingCommit, _) => {
                group.merge_pending_commit(&self.provider)?;
                Ok(Processed::Commit { removed: false })
            }
            _ => Err("unsupported: content or sender of the message".into()),
        }
    }

    fn state(&mut self) -> Result<State> {
        let group = joined(&mut self.group)?;
        let exporter = group.export_secret(
            self.provider.crypto(),
            protocol::EXPORTER_LABEL,
            protocol::EXPORTER_CONTEXT,
            protocol::EXPORTER_LENGTH,
        )?;
        Ok(State {
            epoch: group.epoch().as_u64(),
            tree_hash: Octets(group.public_group().group_context().tree_hash().to_vec()),
            authenticator: Octets(group.epoch_authenticator().as_slice().to_vec()),
            exporter: Octets(exporter),
            members: leaves(group),
            leaf: group.own_leaf_index().u32(),
        })
    }
}

const PAST_EPOCHS: usize = 3;

fn joined(group: &mut Option<MlsGroup>) -> Result<&mut MlsGroup> {
    group.as_mut().ok_or("no group yet".into())
}

fn leaves(group: &MlsGroup) -> Vec<u32> {
    group.members().map(|member| member.index.u32()).collect()
}

fn read<T: DeserializeBytes>(octets: &Octets) -> Result<T> {
    Ok(T::tls_deserialize_exact_bytes(&octets.0)?)
}

fn write<T: Serialize>(value: &T) -> Result<Octets> {
    Ok(Octets(value.tls_serialize_detached()?))
}
