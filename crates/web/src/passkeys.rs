//! Passkeys (WebAuthn) as a second factor: what goes to a browser, what comes back, and whether to believe it.
//!
//! Any authenticator will do: a security key, a phone, a laptop's fingerprint reader, a password manager. It is asked to
//! make sure of its user where it can (`preferred`): the password is the first factor. One that did so when it was added
//! must do so from then on, and is asked to (`required`) where each of the user's did.
//!
//! Nothing here speaks HTTP or SQL: `pages/passkeys.rs` does, and keeps the state of a ceremony in the database, out of the
//! browser's hands.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use innkeeper_http::keys;
use innkeeper_store::{Passkey, User};
use serde::de::DeserializeOwned;
use url::{Host, Url};
use uuid::Uuid;
use webauthn_rs::prelude::{
    PublicKeyCredential, RegisterPublicKeyCredential, SecurityKey, SecurityKeyAuthentication,
    SecurityKeyRegistration, WebauthnError,
};
use webauthn_rs::{Webauthn, WebauthnBuilder};

/// What a passkey is bound to: the address of the pages.
pub(crate) struct RelyingParty {
    webauthn: Webauthn,
    /// As browsers name it.
    pub origin: String,
}

/// What begins a ceremony.
pub(crate) struct Challenge {
    /// For the browser, as JSON.
    pub options: String,
    /// For the database, as JSON.
    pub state: String,
}

/// A passkey that a browser has just made.
#[derive(Debug)]
pub(crate) struct PasskeyRegistration {
    pub credential_id: String,
    pub credential: String,
}

/// A passkey that has just signed.
#[derive(Debug)]
pub(crate) struct PasskeyAssertion<'p> {
    pub passkey: &'p Passkey,
    /// What is known of it from now on.
    pub credential: String,
    /// How often it has signed, as it says.
    pub sign_count: u32,
}

/// Why an answer of a browser is not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasskeyRefusal {
    #[error("it is not a browser's answer to this request ({})", beginning(.0))]
    Malformed(serde_json::Error),
    #[error("this passkey does not belong to you")]
    Unknown,
    /// The counter of the one of this name went back.
    #[error("the signature counter of {0:?} has not increased, so there may be a copy of it")]
    Copied(String),
    /// It made sure of its user when it was added.
    #[error("it did not ask for your finger, face or PIN, as it did when it was added")]
    Unverified,
    /// It was bound to its device when it was added, and is copied to others by now, or the other way round.
    #[error("it is not kept as it was when it was added: remove it and add it again")]
    KeptOtherwise,
    #[error("it does not match the request ({0})")]
    Wrong(WebauthnError),
}

/// What is wrong with an answer, without the most of what somebody sent.
fn beginning(error: &serde_json::Error) -> String {
    error.to_string().chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Something that cannot be, unless the database was changed by hand or the library is at fault.
type Fault = Box<dyn std::error::Error + Send + Sync>;

impl RelyingParty {
    /// That of this address.
    ///
    /// # Errors
    /// Why there are no passkeys at it, as a sentence.
    pub fn of(pages_url: &str, instance: &str) -> Result<Self, String> {
        let needs = "Passkeys need an address with https and a name, or http://localhost";
        let known = format!("{needs}; the pages are at {pages_url} (public_url).");
        let url = Url::parse(pages_url).map_err(|_| known.clone())?;
        let name = match url.host() {
            Some(Host::Domain(name)) if url.scheme() == "https" || is_local(name) => name.to_owned(),
            _ => return Err(known),
        };
        let origin = url.origin().ascii_serialization();
        // Without the path: no browser names one.
        let at = Url::parse(&origin).map_err(|_| known.clone())?;
        let webauthn = WebauthnBuilder::new(&name, &at)
            .and_then(|builder| builder.rp_name(instance).build())
            .map_err(|_| known)?;
        Ok(Self { webauthn, origin })
    }

    /// Begins to add a passkey of a user, who has these.
    ///
    /// # Errors
    /// A fault.
    pub fn begin_adding(&self, user: &User, passkeys: &[Passkey]) -> Result<Challenge, Fault> {
        let known = credentials(passkeys)?.iter().map(|key| key.cred_id().clone()).collect();
        let (mut options, state) = self.webauthn.start_securitykey_registration(
            handle(&self.origin, user),
            &user.name,
            &user.name,
            Some(known),
            None,
            None,
        )?;
        // So that no browser offers security keys alone.
        options.public_key.hints = None;
        // They want an authenticator that always makes sure of its user, which browsers refuse beside `preferred`.
        options.public_key.extensions = None;
        Ok(Challenge { options: serde_json::to_string(&options)?, state: serde_json::to_string(&state)? })
    }

    /// Takes what the browser made of it.
    ///
    /// # Errors
    /// A fault, or why it is not believed.
    pub fn finish_adding(
        &self,
        state: &str,
        answer: &str,
    ) -> Result<Result<PasskeyRegistration, PasskeyRefusal>, Fault> {
        let state: SecurityKeyRegistration = serde_json::from_str(state)?;
        let made = parse::<RegisterPublicKeyCredential>(answer).and_then(|answer| {
            self.webauthn.finish_securitykey_registration(&answer, &state).map_err(PasskeyRefusal::Wrong)
        });
        let key = match made {
            Ok(key) => key,
            Err(refusal) => return Ok(Err(refusal)),
        };
        Ok(Ok(PasskeyRegistration {
            credential_id: URL_SAFE_NO_PAD.encode(key.cred_id()),
            credential: serde_json::to_string(&key)?,
        }))
    }

    /// Begins to ask for one of these passkeys.
    ///
    /// # Errors
    /// A fault.
    pub fn begin_asking(&self, passkeys: &[Passkey]) -> Result<Challenge, Fault> {
        let (mut options, state) = self.webauthn.start_securitykey_authentication(&credentials(passkeys)?)?;
        options.public_key.hints = None;
        let mut options = serde_json::to_value(&options)?;
        // Each of these must make sure of its user: a browser that is only asked to may skip that, and be refused.
        if all_verify(passkeys)? {
            options["publicKey"]["userVerification"] = "required".into();
        }
        Ok(Challenge { options: options.to_string(), state: serde_json::to_string(&state)? })
    }

    /// Takes what a passkey signed. It must be one of `passkeys`, which the user has by now.
    ///
    /// # Errors
    /// A fault, or why it is not believed.
    pub fn finish_asking<'p>(
        &self,
        state: &str,
        answer: &str,
        passkeys: &'p [Passkey],
    ) -> Result<Result<PasskeyAssertion<'p>, PasskeyRefusal>, Fault> {
        let state: SecurityKeyAuthentication = serde_json::from_str(state)?;
        let answer = match parse::<PublicKeyCredential>(answer) {
            Ok(answer) => answer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let id = URL_SAFE_NO_PAD.encode(&answer.raw_id);
        let Some(passkey) = passkeys.iter().find(|passkey| passkey.credential_id == id) else {
            return Ok(Err(PasskeyRefusal::Unknown));
        };
        let result = match self.webauthn.finish_securitykey_authentication(&answer, &state) {
            Ok(result) => result,
            Err(WebauthnError::CredentialPossibleCompromise) => {
                return Ok(Err(PasskeyRefusal::Copied(passkey.name.clone())));
            }
            Err(WebauthnError::UserNotVerified) => return Ok(Err(PasskeyRefusal::Unverified)),
            Err(WebauthnError::CredentialBackupEligibilityInconsistent) => {
                return Ok(Err(PasskeyRefusal::KeptOtherwise));
            }
            Err(error) => return Ok(Err(PasskeyRefusal::Wrong(error))),
        };
        let mut key: SecurityKey = serde_json::from_str(&passkey.credential)?;
        key.update_credential(&result);
        let credential = serde_json::to_string(&key)?;
        Ok(Ok(PasskeyAssertion { passkey, credential, sign_count: result.counter() }))
    }
}

/// Whether browsers take a name for this machine itself, where no https is needed.
fn is_local(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// What authenticators know a user by: always the same, and it says nothing of who it is.
fn handle(origin: &str, user: &User) -> Uuid {
    let text = keys::hash(&format!("{origin} {} {}", user.id, user.name));
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(text.bytes()).for_each(|(byte, digit)| *byte = digit);
    Uuid::from_bytes(bytes)
}

/// Whether each made sure of its user when it was added.
fn all_verify(passkeys: &[Passkey]) -> Result<bool, serde_json::Error> {
    for passkey in passkeys {
        let kept: serde_json::Value = serde_json::from_str(&passkey.credential)?;
        if kept["cred"]["user_verified"] != true {
            return Ok(false);
        }
    }
    Ok(true)
}

fn credentials(passkeys: &[Passkey]) -> Result<Vec<SecurityKey>, serde_json::Error> {
    passkeys.iter().map(|passkey| serde_json::from_str(&passkey.credential)).collect()
}

fn parse<T: DeserializeOwned>(answer: &str) -> Result<T, PasskeyRefusal> {
    serde_json::from_str(answer).map_err(PasskeyRefusal::Malformed)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use innkeeper_core::access::UserRole;
    use innkeeper_testing::authenticator::VirtualAuthenticator;
    use serde_json::Value;

    use super::*;

    #[test]
    fn passkeys_need_https_and_a_name_or_this_machine() {
        for (url, origin) in [
            ("https://innkeeper.example.com", Some("https://innkeeper.example.com")),
            ("https://innkeeper.example.com:8443/inn", Some("https://innkeeper.example.com:8443")),
            ("https://innkeeper", Some("https://innkeeper")),
            ("http://localhost:8080", Some("http://localhost:8080")),
            ("http://inn.localhost:8080/inn", Some("http://inn.localhost:8080")),
            ("http://innkeeper.example.com", None),
            ("http://notlocalhost", None),
            ("http://127.0.0.1:8080", None),
            ("https://192.0.2.7", None),
            ("https://[::1]:8080", None),
        ] {
            let party = RelyingParty::of(url, "Innkeeper");
            assert_eq!(party.as_ref().ok().map(|party| party.origin.as_str()), origin, "{url}");
            if let Err(why) = party {
                assert!(
                    why.contains("https") && why.contains("http://localhost") && why.contains(url),
                    "{why}"
                );
            }
        }
    }

    const HERE: &str = "http://localhost:8080";

    fn party() -> RelyingParty {
        RelyingParty::of(HERE, "Innkeeper").unwrap()
    }

    fn ada() -> User {
        User {
            id: 1,
            name: "ada".to_owned(),
            role: UserRole::Admin,
            has_password: true,
            created_at: DateTime::UNIX_EPOCH,
            confirmed: true,
            second_factor_required: false,
        }
    }

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    /// A passkey of ada's, as the database keeps it.
    fn added(authenticator: &mut VirtualAuthenticator) -> Passkey {
        let challenge = party().begin_adding(&ada(), &[]).unwrap();
        let answer = authenticator.make(&json(&challenge.options)).to_string();
        let made = party().finish_adding(&challenge.state, &answer).unwrap().unwrap();
        Passkey {
            id: 1,
            credential_id: made.credential_id,
            credential: made.credential,
            name: "Phone".to_owned(),
            created_at: DateTime::UNIX_EPOCH,
            last_used_at: None,
        }
    }

    /// What becomes of what it signs: the count, or why it is refused.
    fn asked(authenticator: &mut VirtualAuthenticator, passkey: &Passkey) -> Result<u32, String> {
        let known = std::slice::from_ref(passkey);
        let challenge = party().begin_asking(known).unwrap();
        let answer = authenticator.sign(&json(&challenge.options)).to_string();
        let signed = party().finish_asking(&challenge.state, &answer, known).unwrap();
        signed.map(|signed| signed.sign_count).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn any_kind_of_authenticator_is_asked_for() {
        let mut authenticator = VirtualAuthenticator::at(HERE);
        let passkey = added(&mut authenticator);
        let adding = json(&party().begin_adding(&ada(), std::slice::from_ref(&passkey)).unwrap().options);
        let options = &adding["publicKey"];
        assert_eq!(options["rp"]["id"], "localhost");
        assert_eq!(options["authenticatorSelection"]["userVerification"], "preferred");
        assert_eq!(options["authenticatorSelection"]["residentKey"], "discouraged");
        assert_eq!(options["excludeCredentials"][0]["id"], passkey.credential_id);
        assert!(options.get("extensions").is_none(), "{options}");
        let mut simple = VirtualAuthenticator::at(HERE);
        simple.verifies = false;
        let both = [passkey.clone(), added(&mut simple)];
        let asking = json(&party().begin_asking(&both).unwrap().options);
        assert_eq!(asking["publicKey"]["userVerification"], "preferred", "one of them cannot");
        let asking = json(&party().begin_asking(&[passkey]).unwrap().options);
        assert_eq!(asking["publicKey"]["userVerification"], "required", "or it would be refused");
        for options in [options, &asking["publicKey"]] {
            assert!(options.get("hints").is_none(), "{options}");
        }
    }

    #[test]
    fn a_passkey_signs_and_its_count_goes_on() {
        let mut authenticator = VirtualAuthenticator::at(HERE);
        let mut passkey = added(&mut authenticator);
        for count in 1..=3 {
            assert_eq!(asked(&mut authenticator, &passkey), Ok(count));
        }
        let known = [passkey.clone()];
        let challenge = party().begin_asking(&known).unwrap();
        let answer = authenticator.sign(&json(&challenge.options)).to_string();
        let signed = party().finish_asking(&challenge.state, &answer, &known).unwrap().unwrap();
        assert_eq!((signed.sign_count, signed.passkey), (4, &known[0]));
        passkey.credential = signed.credential;
        for signed_before in [2, 3] {
            authenticator.signed = signed_before;
            let refused = asked(&mut authenticator, &passkey).unwrap_err();
            assert!(refused.contains("a copy of it"), "{refused}");
        }
        // One that counted does not stop to.
        (authenticator.signed, authenticator.counts) = (0, false);
        assert!(asked(&mut authenticator, &passkey).unwrap_err().contains("a copy of it"));
        let mut synced = VirtualAuthenticator::at(HERE);
        synced.counts = false;
        let passkey = added(&mut synced);
        assert_eq!((asked(&mut synced, &passkey), asked(&mut synced, &passkey)), (Ok(0), Ok(0)));
    }

    #[test]
    fn what_an_authenticator_did_when_it_was_added_it_must_do() {
        let mut authenticator = VirtualAuthenticator::at(HERE);
        let passkey = added(&mut authenticator);
        authenticator.verifies = false;
        let refused = asked(&mut authenticator, &passkey).unwrap_err();
        assert!(refused.contains("your finger, face or PIN"), "{refused}");
        let mut simple = VirtualAuthenticator::at(HERE);
        simple.verifies = false;
        let passkey = added(&mut simple);
        assert_eq!(asked(&mut simple, &passkey), Ok(1));
    }

    #[test]
    fn what_does_not_fit_what_was_asked_is_refused() {
        let mut authenticator = VirtualAuthenticator::at(HERE);
        let passkey = added(&mut authenticator);
        let known = std::slice::from_ref(&passkey);
        // Another's, which says that it is this one.
        let mut other = VirtualAuthenticator::at(HERE);
        other.id.clone_from(&authenticator.id);
        assert!(asked(&mut other, &passkey).is_err());
        other.id = vec![1; 32];
        assert_eq!(asked(&mut other, &passkey), Err("this passkey does not belong to you".to_owned()));
        // From the page of another site, at another port, over another scheme.
        for elsewhere in [
            "http://localhost:8081",
            "https://localhost:8080",
            "http://evil.example",
            "http://a.localhost:8080",
        ] {
            authenticator.origin = elsewhere.to_owned();
            assert!(asked(&mut authenticator, &passkey).is_err(), "{elsewhere}");
        }
        authenticator.origin = HERE.to_owned();
        // To another challenge, and for another site.
        let (one, two) = (party().begin_asking(known).unwrap(), party().begin_asking(known).unwrap());
        let answer = authenticator.sign(&json(&one.options)).to_string();
        assert!(party().finish_asking(&two.state, &answer, known).unwrap().is_err());
        assert!(party().finish_asking(&one.state, &answer, known).unwrap().is_ok());
        let mut options = json(&one.options);
        options["publicKey"]["rpId"] = "evil.example".into();
        let answer = authenticator.sign(&options).to_string();
        assert!(party().finish_asking(&one.state, &answer, known).unwrap().is_err());
        // Removed meanwhile.
        let answer = authenticator.sign(&json(&one.options)).to_string();
        assert!(matches!(
            party().finish_asking(&one.state, &answer, &[]).unwrap(),
            Err(PasskeyRefusal::Unknown)
        ));
        // An answer of the other ceremony, and what is none.
        let adding = party().begin_adding(&ada(), &[]).unwrap();
        for answer in [answer.as_str(), "", "{}", "null", r#"{"id":"x"}"#] {
            assert!(party().finish_adding(&adding.state, answer).unwrap().is_err(), "{answer}");
        }
        assert!(party().finish_adding(&one.state, &answer).is_err(), "a state is of one kind");
    }
}
