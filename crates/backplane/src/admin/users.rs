//! 1.x users and bus owners of 2.0: accounts whose passwords people chose.

use std::str::FromStr;

use buswire_message::Secret;
use buswire_store::{Batch, Key, Operation, Revision};

use crate::{
    Backplane, ImportedHash,
    error::AdminError,
    rules::names::{AccountNameError, OwnerName, UserName},
    state::{
        accounts::kinds,
        password::Credential,
        records::AccountRecord,
        rows::{Committed, Stored, key, put, unchanged},
    },
};

const PASSWORD_BYTES_MAX: usize = 1024;

/// A user of 1.x or an owner of buses, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account<N> {
    /// Its name.
    pub name: N,
    /// Changes with its password.
    pub revision: Revision,
}

/// A password that an account is given.
#[derive(Clone, Debug)]
pub enum NewPassword {
    /// In clear, 1 to 1024 bytes; stored as argon2id.
    Clear(Secret<String>),
    /// As a reference server had stored it (Backplane §13.8).
    Imported(ImportedHash),
}

impl Backplane {
    /// Creates or replaces a 1.x user, if it has the revision `expected` (Backplane §13.3); `None` is any,
    /// and none. What it may do is said by the buses.
    ///
    /// # Errors
    ///
    /// [`AdminError::Changed`], [`AdminError::Password`], [`AdminError::Busy`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the change is one commit.
    pub async fn put_user(
        &self,
        name: &UserName,
        password: NewPassword,
        expected: Option<Revision>,
    ) -> Result<(), AdminError> {
        self.put_account(kinds::USER, name.as_str(), password, expected).await?;
        self.state.forget_user(name);
        Ok(())
    }

    /// Deletes a 1.x user, if it has the revision `expected`; `None` is any. Its access ends at once.
    /// Whether there was one. Permissions that buses name for it stay, without effect (Backplane §13.4).
    ///
    /// # Errors
    ///
    /// [`AdminError::Changed`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn delete_user(
        &self,
        name: &UserName,
        expected: Option<Revision>,
    ) -> Result<bool, AdminError> {
        let deleted = self.delete_account(kinds::USER, name.as_str(), expected).await?;
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
    pub async fn users(&self) -> Result<Vec<Account<UserName>>, AdminError> {
        self.accounts(kinds::USER).await
    }

    /// Creates or replaces a bus owner, if it has the revision `expected`, and signs it out of every
    /// browser; `None` is any, and none.
    ///
    /// # Errors
    ///
    /// [`AdminError::Changed`], [`AdminError::Password`], [`AdminError::Busy`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: sign-ins may then outlive the old password; the call can be repeated.
    pub async fn put_owner(
        &self,
        name: &OwnerName,
        password: NewPassword,
        expected: Option<Revision>,
    ) -> Result<(), AdminError> {
        self.put_account(kinds::OWNER, name.as_str(), password, expected).await?;
        self.sign_out_everywhere(name).await?;
        Ok(())
    }

    /// Deletes a bus owner, if it has the revision `expected`, and all its buses, as
    /// [`delete_bus`](Self::delete_bus) does; `None` is any. Whether there was one (Backplane §13.4).
    ///
    /// # Errors
    ///
    /// [`AdminError::Changed`] if it has another revision: then nothing is deleted. Else as
    /// [`delete_bus`](Self::delete_bus). Buses that were deleted before the error stay deleted;
    /// the call can be repeated.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; what was not deleted yet stays, and the call can be repeated.
    pub async fn delete_owner(
        &self,
        name: &OwnerName,
        expected: Option<Revision>,
    ) -> Result<bool, AdminError> {
        // Who expects a revision changes nothing if it is another. Else the owner goes last, so that a
        // call that broke off can be repeated.
        let deleted = match expected {
            Some(_) => Some(self.delete_account(kinds::OWNER, name.as_str(), expected).await?),
            None => None,
        };
        for bus in self.buses().await? {
            if bus.owner == *name {
                self.delete_bus(&bus.name, None).await?;
            }
        }
        let existed = match deleted {
            Some(existed) => existed,
            None => self.delete_account(kinds::OWNER, name.as_str(), None).await?,
        };
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
    pub async fn owners(&self) -> Result<Vec<Account<OwnerName>>, AdminError> {
        self.accounts(kinds::OWNER).await
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
        kind: &'static str,
        name: &str,
        password: NewPassword,
        expected: Option<Revision>,
    ) -> Result<(), AdminError> {
        let record = AccountRecord::new(&self.hash_password(password).await?);
        let key = key(&[kind, name]);
        let batch = Batch::new(self.state.rows.accounts().clone());
        let batch = batch.then(put(key.clone(), &record, None));
        self.apply_expected(batch, key, expected, (kind, name)).await
    }

    async fn delete_account(
        &self,
        kind: &'static str,
        name: &str,
        expected: Option<Revision>,
    ) -> Result<bool, AdminError> {
        let (rows, key) = (&self.state.rows, key(&[kind, name]));
        if rows.get::<AccountRecord>(rows.accounts(), &key).await?.is_none() {
            return Ok(false);
        }
        let batch = Batch::new(rows.accounts().clone());
        let batch = batch.then(Operation::Delete { key: key.clone() });
        self.apply_expected(batch, key, expected, (kind, name)).await?;
        Ok(true)
    }

    /// Commits a batch if the row of `key`, what of a kind has a name, has the revision `expected`.
    pub(super) async fn apply_expected(
        &self,
        mut batch: Batch,
        key: Key,
        expected: Option<Revision>,
        (kind, name): (&'static str, &str),
    ) -> Result<(), AdminError> {
        let rows = &self.state.rows;
        let Some(expected) = expected else { return Ok(rows.apply(batch).await?) };
        batch = batch.expect(unchanged(key, expected));
        match rows.commit(batch).await? {
            Committed::Done => Ok(()),
            Committed::Conflict(_) => Err(AdminError::Changed { kind, name: name.to_owned() }),
        }
    }

    async fn accounts<N>(&self, kind: &str) -> Result<Vec<Account<N>>, AdminError>
    where
        N: FromStr<Err = AccountNameError>,
    {
        let rows = &self.state.rows;
        let found = rows.scan_rows::<AccountRecord>(rows.accounts(), &[kind]).await?;
        let account = |row: Stored<AccountRecord>| {
            Ok(Account { name: row.last_word().parse()?, revision: row.revision })
        };
        found.into_iter().map(account).collect()
    }
}
