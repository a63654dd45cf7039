//! 1.x users and bus owners of 2.0: accounts whose passwords people chose.

use buswire_message::Secret;
use buswire_store::{Batch, Operation};

use crate::{
    Backplane, ImportedHash,
    error::AdminError,
    rules::names::{OwnerName, UserName},
    state::{
        accounts::kinds,
        password::Credential,
        records::AccountRecord,
        rows::{key, put},
    },
};

const PASSWORD_BYTES_MAX: usize = 1024;

/// A password that an account is given.
#[derive(Clone, Debug)]
pub enum NewPassword {
    /// In clear, 1 to 1024 bytes; stored as argon2id.
    Clear(Secret<String>),
    /// As a reference server had stored it (Backplane §13.8).
    Imported(ImportedHash),
}

impl Backplane {
    /// Creates or replaces a 1.x user (Backplane §13.3). What it may do is said by the buses.
    ///
    /// # Errors
    ///
    /// [`AdminError::Password`], [`AdminError::Busy`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the change is one commit.
    pub async fn put_user(&self, name: &UserName, password: NewPassword) -> Result<(), AdminError> {
        self.put_account(kinds::USER, name.as_str(), password).await?;
        self.state.forget_user(name);
        Ok(())
    }

    /// Deletes a 1.x user, whose access ends at once; whether there was one. Permissions that buses
    /// name for it stay, without effect (Backplane §13.4).
    ///
    /// # Errors
    ///
    /// [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn delete_user(&self, name: &UserName) -> Result<bool, AdminError> {
        let deleted = self.delete_account(kinds::USER, name.as_str()).await?;
        self.state.forget_user(name);
        Ok(deleted)
    }

    /// The 1.x users, in order of name.
    ///
    /// # Errors
    ///
    /// [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn users(&self) -> Result<Vec<UserName>, AdminError> {
        let names = self.account_names(kinds::USER).await?;
        names.iter().map(|name| name.parse().map_err(AdminError::Name)).collect()
    }

    /// Creates or replaces a bus owner, and signs it out of every browser.
    ///
    /// # Errors
    ///
    /// [`AdminError::Password`], [`AdminError::Busy`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: sign-ins may then outlive the old password; the call can be repeated.
    pub async fn put_owner(
        &self,
        name: &OwnerName,
        password: NewPassword,
    ) -> Result<(), AdminError> {
        self.put_account(kinds::OWNER, name.as_str(), password).await?;
        self.sign_out_everywhere(name).await?;
        Ok(())
    }

    /// Deletes a bus owner and all its buses, as [`delete_bus`](Self::delete_bus) does; whether there
    /// was one (Backplane §13.4).
    ///
    /// # Errors
    ///
    /// As [`delete_bus`](Self::delete_bus). Buses that were deleted before the error stay deleted;
    /// the call can be repeated.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; what was not deleted yet stays, and the call can be repeated.
    pub async fn delete_owner(&self, name: &OwnerName) -> Result<bool, AdminError> {
        for bus in self.buses().await? {
            if bus.owner == *name {
                self.delete_bus(&bus.name, None).await?;
            }
        }
        let existed = self.delete_account(kinds::OWNER, name.as_str()).await?;
        self.sign_out_everywhere(name).await?;
        Ok(existed)
    }

    /// The bus owners, in order of name.
    ///
    /// # Errors
    ///
    /// [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn owners(&self) -> Result<Vec<OwnerName>, AdminError> {
        let names = self.account_names(kinds::OWNER).await?;
        names.iter().map(|name| name.parse().map_err(AdminError::Name)).collect()
    }

    pub(crate) async fn hash_password(
        &self,
        password: NewPassword,
    ) -> Result<Credential, AdminError> {
        match password {
            NewPassword::Imported(imported) => Ok(Credential::Imported(imported)),
            NewPassword::Clear(clear) => {
                if !(1..=PASSWORD_BYTES_MAX).contains(&clear.expose().len()) {
                    return Err(AdminError::Password);
                }
                Ok(self.state.passwords.hash(&clear, &*self.state.entropy).await?)
            }
        }
    }

    async fn put_account(
        &self,
        kind: &str,
        name: &str,
        password: NewPassword,
    ) -> Result<(), AdminError> {
        let record = AccountRecord::new(&self.hash_password(password).await?);
        let rows = &self.state.rows;
        let batch =
            Batch::new(rows.accounts().clone()).then(put(key(&[kind, name]), &record, None));
        Ok(rows.apply(batch).await?)
    }

    async fn delete_account(&self, kind: &str, name: &str) -> Result<bool, AdminError> {
        let (rows, key) = (&self.state.rows, key(&[kind, name]));
        let existed = rows.get::<AccountRecord>(rows.accounts(), &key).await?.is_some();
        rows.apply(Batch::new(rows.accounts().clone()).then(Operation::Delete { key })).await?;
        Ok(existed)
    }

    async fn account_names(&self, kind: &str) -> Result<Vec<String>, AdminError> {
        let rows = &self.state.rows;
        let accounts = rows.scan::<AccountRecord>(rows.accounts(), &[kind]).await?;
        Ok(accounts.into_iter().map(|(name, _)| name).collect())
    }
}
