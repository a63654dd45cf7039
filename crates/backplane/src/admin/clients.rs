//! Clients of 2.0.

use buswire_message::{Secret, SecretHash, SourceUrl, mint_alphanumeric, mint_base64url};
use buswire_store::{Batch, Expectation, Operation, Revision};

use crate::{
    Backplane,
    admin::{ATTEMPTS, NewPassword},
    error::AdminError,
    rules::{
        names::{ClientId, RedirectUri},
        token::Stamp,
    },
    state::{
        accounts::kinds,
        password::{Account, Credential},
        records::ClientRecord,
        rows::{Stored, key, put, unchanged},
    },
};

/// Random bytes of a client secret that Buswire mints: 256 bits.
const SECRET_BYTES: usize = 32;
/// Characters of a client id that Buswire mints. It is a name, not a secret.
const CLIENT_ID_LENGTH: usize = 20;

/// A client to be registered.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// Its id; `None` lets one be made.
    pub client_id: Option<ClientId>,
    /// Its secret; `None` lets one be minted, with 256 random bits. A secret that is given is taken
    /// for a password that a person chose, and stored as argon2id.
    pub secret: Option<Secret<String>>,
    /// The `source` of all its messages (Backplane §7.1).
    pub source_url: SourceUrl,
    /// Where its authorization codes go.
    pub redirect_uri: RedirectUri,
}

/// A client that was registered. The secret is told only here.
#[derive(Clone, Debug)]
pub struct CreatedClient {
    /// Its id.
    pub client_id: ClientId,
    /// Its secret: the one given, or the one minted.
    pub secret: Secret<String>,
    /// Its revision.
    pub revision: Revision,
}

/// What may be shown of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its id.
    pub client_id: ClientId,
    /// The `source` of all its messages.
    pub source_url: SourceUrl,
    /// Where its authorization codes go.
    pub redirect_uri: RedirectUri,
    /// Changes with everything that is changed of it; its grants have their own.
    pub revision: Revision,
}

impl Backplane {
    /// Registers a client. It has no rights before it is granted buses.
    ///
    /// # Errors
    ///
    /// [`AdminError::ClientExists`], [`AdminError::Password`], [`AdminError::Busy`],
    /// [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: registering is one commit. A minted secret is lost then.
    pub async fn create_client(&self, new: NewClient) -> Result<CreatedClient, AdminError> {
        let (client_id, secret, record) = self.prepare_client(new).await?;
        let (rows, key) = (&self.state.rows, key(&[kinds::CLIENT, client_id.as_str()]));
        let batch = Batch::new(rows.accounts().clone())
            .expect(Expectation::Absent(key.clone()))
            .then(put(key, &record, None));
        match rows.commit_row(batch).await? {
            Some(revision) => {
                self.state.forget_client(&client_id);
                Ok(CreatedClient { client_id, secret, revision })
            }
            None => Err(AdminError::ClientExists(client_id)),
        }
    }

    /// Registers a client or replaces it whole, as provisioning does (Backplane §13.3). Its grants
    /// stay. Its tokens die if the secret or the source URL is another.
    ///
    /// # Errors
    ///
    /// [`AdminError::Password`], [`AdminError::Busy`], [`AdminError::Contended`],
    /// [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: replacing is one commit.
    pub async fn put_client(&self, new: NewClient) -> Result<CreatedClient, AdminError> {
        let (client_id, secret, fresh) = self.prepare_client(new).await?;
        let (rows, key) = (&self.state.rows, key(&[kinds::CLIENT, client_id.as_str()]));
        for _ in 0..ATTEMPTS {
            let present = rows.get::<ClientRecord>(rows.accounts(), &key).await?;
            let (expected, record) = match present {
                None => (Expectation::Absent(key.clone()), None),
                Some((present, revision)) => {
                    let is_same = present.source_url()? == fresh.source_url()?
                        && self.is_secret_of(&client_id, &present, &secret).await?;
                    let record = is_same.then(|| fresh.clone().with_identity_of(present));
                    (unchanged(key.clone(), revision), record)
                }
            };
            let write = put(key.clone(), record.as_ref().unwrap_or(&fresh), None);
            let batch = Batch::new(rows.accounts().clone()).expect(expected).then(write);
            if let Some(revision) = rows.commit_row(batch).await? {
                self.state.forget_client(&client_id);
                return Ok(CreatedClient { client_id, secret, revision });
            }
        }
        Err(AdminError::Contended)
    }

    /// Deletes a client, if it has the revision `expected`, with its grants and tokens; `None` is any.
    /// Whether there was one (Backplane §13.4).
    ///
    /// # Errors
    ///
    /// [`AdminError::Changed`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: deleting is one commit.
    pub async fn delete_client(
        &self,
        id: &ClientId,
        expected: Option<Revision>,
    ) -> Result<bool, AdminError> {
        let Some(client) = self.state.read_client(id).await? else { return Ok(false) };
        let client_key = key(&[kinds::CLIENT, id.as_str()]);
        let mut batch = Batch::new(self.state.rows.accounts().clone())
            .then(Operation::Delete { key: client_key.clone() });
        for grant in &client.grants {
            let keys = [
                key(&[kinds::GRANT, id.as_str(), grant.id.as_str()]),
                key(&[kinds::GRANT_INDEX, grant.id.as_str()]),
            ];
            batch = keys.into_iter().fold(batch, |b, key| b.then(Operation::Delete { key }));
        }
        self.apply_expected(batch, client_key, expected, ("client", id.as_str())).await?;
        self.state.forget_client(id);
        Ok(true)
    }

    /// The clients, in order of id.
    ///
    /// # Errors
    ///
    /// [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn clients(&self) -> Result<Vec<ClientInfo>, AdminError> {
        let rows = &self.state.rows;
        let records = rows.scan_rows::<ClientRecord>(rows.accounts(), &[kinds::CLIENT]).await?;
        let info = |row: Stored<ClientRecord>| {
            Ok(ClientInfo {
                client_id: row.last_word().parse()?,
                source_url: row.value.source_url()?,
                redirect_uri: row.value.redirect_uri()?,
                revision: row.revision,
            })
        };
        records.into_iter().map(info).collect()
    }

    async fn is_secret_of(
        &self,
        id: &ClientId,
        record: &ClientRecord,
        secret: &Secret<String>,
    ) -> Result<bool, AdminError> {
        let (account, credential) = (Account::Client(id.as_str()), record.credential()?);
        let now = self.state.now();
        Ok(self.state.passwords.verify(account, Some(&credential), secret, now).await?)
    }

    async fn prepare_client(
        &self,
        new: NewClient,
    ) -> Result<(ClientId, Secret<String>, ClientRecord), AdminError> {
        let entropy = &*self.state.entropy;
        let client_id = match new.client_id {
            Some(id) => id,
            None => mint_alphanumeric(entropy, CLIENT_ID_LENGTH).expose().parse()?,
        };
        let (secret, credential) = if let Some(given) = new.secret {
            let credential = self.hash_password(NewPassword::Clear(given.clone())).await?;
            (given, credential)
        } else {
            let minted = mint_base64url(entropy, SECRET_BYTES);
            let credential = Credential::Minted(SecretHash::of(minted.expose()));
            (minted, credential)
        };
        let stamp = Stamp::mint(entropy);
        let record = ClientRecord::new(&credential, &new.source_url, &new.redirect_uri, stamp);
        Ok((client_id, secret, record))
    }
}
