//! Proving who one is: passwords with Argon2id in a bounded pool, opaque tokens that are stored as hashes only.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use koban_domain::records::Digest;
use tokio::sync::Semaphore;

use crate::error::Error;

/// 19 MiB, two passes, one lane: the least that OWASP's password storage cheat sheet advises for Argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// Hashes computed at a time: each takes 19 MiB and some 20 ms of a core.
const AT_A_TIME: usize = 2;
/// Hashes waiting; more sign-ins than this at once are told to come back.
const WAITING_MAX: usize = 64;

/// Password hashing that cannot take all cores or all memory.
#[derive(Debug, Clone)]
pub struct Hashing {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Hashing {
    fn default() -> Self {
        Hashing { running: Arc::new(Semaphore::new(AT_A_TIME)), waiting: Arc::new(Semaphore::new(WAITING_MAX)) }
    }
}

impl Hashing {
    /// The hash of a password in PHC form.
    pub async fn hash(&self, password: String) -> Result<String, Error> {
        self.run(move || {
            argon2()
                .hash_password(password.as_bytes())
                .map(|hash| hash.to_string())
                .map_err(|error| Error::Internal(error.to_string()))
        })
        .await?
    }

    /// Whether the password belongs to the hash. Without a hash the same work is done for nothing, so that an unknown email
    /// cannot be told from a wrong password by the time it takes.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Error> {
        self.run(move || match hash.as_deref().map(PasswordHash::new) {
            Some(Ok(hash)) => argon2().verify_password(password.as_bytes(), &hash).is_ok(),
            _ => {
                let _ = argon2().hash_password(password.as_bytes());
                false
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let _waiting = self.waiting.try_acquire().map_err(|_| Error::Busy)?;
        let _running = self.running.acquire().await.map_err(|_| Error::Busy)?;
        tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.to_string()))
    }
}

fn argon2() -> Argon2<'static> {
    // The constants are within Argon2's bounds; its own defaults are as strong.
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Whether a password may be chosen: 12 to 128 characters, not one character repeated. No composition rules.
pub fn check_password(password: &str) -> Result<(), Error> {
    check_password_field("password", password)
}

/// The same for a password that comes in another field.
pub(crate) fn check_password_field(field: &str, password: &str) -> Result<(), Error> {
    let length = password.chars().count();
    if !(12..=128).contains(&length) {
        return Err(Error::invalid(field, "choose 12 to 128 characters; any characters will do"));
    }
    let first = password.chars().next();
    if password.chars().all(|character| Some(character) == first) {
        return Err(Error::invalid(field, "choose more than one character"));
    }
    Ok(())
}

/// Somebody's wish for another password.
pub struct PasswordChange {
    /// The one they have, as proof that it is they who ask.
    pub current: String,
    /// The one they want, 12 to 128 characters.
    pub new: String,
}

impl std::fmt::Debug for PasswordChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordChange { .. }")
    }
}

impl PasswordChange {
    /// Errors: `current` is not the password with this hash, or is the wanted one already.
    pub(crate) async fn prove(&self, app: &crate::App, hash: &str) -> Result<(), Error> {
        if !app.hashing.verify(self.current.clone(), Some(hash.to_owned())).await? {
            return Err(Error::invalid("current", "this is not your password"));
        }
        if self.current == self.new {
            return Err(Error::invalid("new", "choose another password than the one you have"));
        }
        Ok(())
    }
}

/// Whether this can be an email address: something before and after one `@`, at most 254 bytes. Returned in lower case.
pub fn check_email(email: &str) -> Result<String, Error> {
    let email = email.trim().to_lowercase();
    let wrong = || Error::invalid("email", "write an address such as name@example.com");
    let (name, host) = email.split_once('@').ok_or_else(wrong)?;
    let plain = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control() || c == '@');
    if !plain(name) || !plain(host) || !host.contains('.') || email.len() > 254 {
        return Err(wrong());
    }
    Ok(email)
}

/// What is stored of a token or an API key: its SHA-256. The tokens have 256 random bits, so no salt is needed.
pub fn token_hash(token: &str) -> Digest {
    Digest::of(token.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_another_is_not() {
        let hashing = Hashing::default();
        let hash = hashing.hash("correct horse battery".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hashing.verify("correct horse battery".into(), Some(hash.clone())).await.unwrap());
        assert!(!hashing.verify("correct horse batterz".into(), Some(hash)).await.unwrap());
        assert!(!hashing.verify("correct horse battery".into(), None).await.unwrap());
    }

    #[test]
    fn addresses_and_passwords_are_checked_before_anything_is_done() {
        assert_eq!(check_email(" Hana@Example.com ").unwrap(), "hana@example.com");
        for wrong in ["hana", "@example.com", "hana@", "a@b@c.d", "hana@localhost", "ha na@example.com"] {
            assert!(check_email(wrong).is_err(), "{wrong}");
        }
        assert!(check_password("short").is_err());
        assert!(check_password("aaaaaaaaaaaaaaaa").is_err());
        assert!(check_password("long enough now").is_ok());
    }
}
