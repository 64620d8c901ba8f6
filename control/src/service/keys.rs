//! The keyring of the control plane as a whole: which master key it has, its rotation, and the
//! sealing anew of what is sealed.
//!
//! See decision 0159.

use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

use super::Failure;
use super::documents::Documents;
use super::rights::may_whole;
use crate::api::{MasterKey, RotateMasterKey};
use crate::core::change::Change;
use crate::core::model::{AUTHORITY, KEYRING};
use crate::core::rights::{Action, Actor};
use crate::ports::authority::Authority;
use crate::ports::keyring::{Keyring, KeyringChange, KeyringError, KeyringTrouble, ManagedKeyring};

/// Owner of sealed values in the tables of tenants. When the data key changes, each owner seals its
/// values again. Whoever seals a value does so within the change that stores it.
pub trait SealedRows: Send + Sync + 'static {
    /// Opens every sealed value of a tenant's tables, seals it again and writes it. Returns their
    /// number.
    ///
    /// # Errors
    /// Returns a [`KeyringError`] when a value cannot be opened; the change is not made then.
    fn seal_again(
        &self,
        change: &mut Change<'_>,
        keyring: &dyn Keyring,
    ) -> Result<u64, KeyringError>;
}

/// Master key and data keys, and their rotation.
pub struct MasterKeys {
    documents: Arc<Documents>,
    authority: Arc<dyn Authority>,
    keyring: Arc<dyn ManagedKeyring>,
    owners: Vec<Box<dyn SealedRows>>,
    /// One change of the keyring at a time: a rotation, or the keys of a backup that is restored.
    changing: Mutex<()>,
}

impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterKeys").finish_non_exhaustive()
    }
}

/// Makes the failure of a change that the keyring refuses.
pub(super) fn refused(trouble: KeyringTrouble) -> Failure {
    Failure::invalid(trouble.to_string())
}

impl MasterKeys {
    pub(super) fn new(
        documents: Arc<Documents>,
        authority: Arc<dyn Authority>,
        keyring: Arc<dyn ManagedKeyring>,
        owners: Vec<Box<dyn SealedRows>>,
    ) -> Self {
        Self { documents, authority, keyring, owners, changing: Mutex::new(()) }
    }

    /// Waits until nobody else changes the keyring.
    pub(super) async fn alone(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// The keyring itself.
    pub(super) fn keyring(&self) -> &dyn ManagedKeyring {
        &*self.keyring
    }

    fn state(&self, notes: Vec<String>) -> MasterKey {
        let status = self.keyring.status();
        MasterKey { id: status.master, place: status.place, data_keys: status.data_keys, notes }
    }

    /// Returns which master key there is, without any key.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] with what the actor lacks.
    pub fn master_key(&self, actor: &Actor) -> Result<MasterKey, Failure> {
        may_whole(actor, Action::GetMasterKey, self.documents.first_tenant())?;
        Ok(self.state(Vec::new()))
    }

    /// Puts another master key in the place of the present one, and on request seals everything
    /// again under a new data key. Nothing stops meanwhile.
    ///
    /// # Errors
    /// Returns a [`Failure`] when there is no such key or the store takes no change. Whatever was
    /// done until then holds, and the rotation can be asked for again.
    pub async fn rotate(
        &self,
        actor: &Actor,
        wanted: RotateMasterKey,
    ) -> Result<MasterKey, Failure> {
        let permit = may_whole(actor, Action::RotateMasterKey, self.documents.first_tenant())?;
        let by = permit.by();
        let _alone = self.alone().await;
        let former = self.keyring.status().master;
        // Whatever became of an earlier try, the store has the row of the present master key from
        // here on, so that the file of the next one may be written over.
        self.store(self.keyring.row().map_err(Failure::internal)?).await?;
        let file = wanted.file.map(Into::into);
        let given = file.is_some();
        let row = self.keyring.stage(KeyringChange::Master { file }).map_err(refused)?;
        self.store(row).await?;
        let mut notes: Vec<String> =
            self.keyring.adopt().err().into_iter().map(|it| it.0).collect();
        let state = self.keyring.status();
        if given {
            notes.push(format!(
                "the next start needs this key: --master-key with {}, or put it where the former one was",
                state.place
            ));
        }
        notes.push(format!(
            "master key {former} opens nothing here any more; unencrypted backups from before still need it"
        ));
        let sealed = if wanted.data_keys { self.seal_again().await? } else { 0 };
        let detail = match wanted.data_keys {
            true => format!("from {former} to {}, {sealed} values sealed again", state.master),
            false => format!("from {former} to {}", state.master),
        };
        tracing::warn!(by, former, now = state.master, "the master key was rotated");
        self.documents
            .change(self.documents.first_tenant(), |change| {
                change.audit(by, "master-key.rotate", "control plane", detail);
                Ok(())
            })
            .await?;
        Ok(self.state(notes))
    }

    /// Makes a new data key and seals everything under it, one change a tenant. What is not sealed
    /// again yet opens all the while.
    async fn seal_again(&self) -> Result<u64, Failure> {
        let now = self.documents.now();
        let row = self.keyring.stage(KeyringChange::NewDataKey { now }).map_err(refused)?;
        self.store(row).await?;
        self.keyring.adopt().map_err(Failure::internal)?;
        let authority = self.authority.keys().seal(&*self.keyring).map_err(Failure::internal)?;
        let authority = serde_json::to_vec(&authority).map_err(Failure::internal)?;
        self.documents
            .change(self.documents.first_tenant(), |change| {
                change.put_shared(AUTHORITY, authority);
                Ok(())
            })
            .await?;
        let mut sealed = 1;
        for tenant in self.documents.tenant_names() {
            sealed += self
                .documents
                .change(&tenant, |change| {
                    let mut again = 0;
                    for owner in &self.owners {
                        let sealed = owner.seal_again(change, &*self.keyring);
                        again += sealed.map_err(Failure::internal)?;
                    }
                    Ok(again)
                })
                .await?;
        }
        let row = self.keyring.stage(KeyringChange::KeepTwo).map_err(refused)?;
        self.store(row).await?;
        self.keyring.adopt().map_err(Failure::internal)?;
        Ok(sealed)
    }

    /// Stores the keyring's row.
    async fn store(&self, row: Vec<u8>) -> Result<(), Failure> {
        self.documents
            .change(self.documents.first_tenant(), |change| {
                change.put_shared(KEYRING, row);
                Ok(())
            })
            .await
    }
}
