//! A WebAuthn authenticator with its browser. It creates a passkey and signs with it, correctly unless a test changes
//! its fields.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const HAS_CREDENTIAL: u8 = 0x40;

/// An authenticator with a single passkey (ES256).
pub struct VirtualAuthenticator {
    key: KeyPair,
    /// The credential id of the passkey.
    pub id: Vec<u8>,
    /// The signature counter; it stays at 0 if `counts` is false.
    pub signed: u32,
    /// Whether the signature counter is increased.
    pub counts: bool,
    /// Whether user verification is performed.
    pub verifies: bool,
    /// The origin of the browser's page.
    pub origin: String,
}

impl VirtualAuthenticator {
    /// An authenticator that counts signatures and verifies its user, in a browser at `origin`.
    pub fn at(origin: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let id = Sha256::digest(key.der_bytes()).to_vec();
        Self { key, id, signed: 0, counts: true, verifies: true, origin: origin.to_owned() }
    }

    /// The result of `navigator.credentials.create` for the server's challenge.
    pub fn make(&mut self, asked: &Value) -> Value {
        let options = &asked["publicKey"];
        let mut data = self.data(text(&options["rp"]["id"]), HAS_CREDENTIAL);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).expect("short").to_be_bytes());
        data.extend(&self.id);
        // The public point without its leading byte, as a COSE key.
        let (x, y) = self.key.der_bytes()[1..].split_at(32);
        data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend(x);
        data.extend([0x22, 0x58, 0x20]);
        data.extend(y);
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        object.push(u8::try_from(data.len()).expect("short"));
        object.extend(data);
        let response = json!({
            "clientDataJSON": encode(&self.client_data("webauthn.create", options)),
            "attestationObject": encode(&object),
            "transports": ["internal"],
        });
        self.answer(response)
    }

    /// The result of `navigator.credentials.get` for the server's challenge.
    pub fn sign(&mut self, asked: &Value) -> Value {
        let options = &asked["publicKey"];
        if self.counts {
            self.signed += 1;
        }
        let data = self.data(text(&options["rpId"]), 0);
        let client_data = self.client_data("webauthn.get", options);
        let signed = [&data[..], &Sha256::digest(&client_data)].concat();
        let response = json!({
            "clientDataJSON": encode(&client_data),
            "authenticatorData": encode(&data),
            "signature": encode(&self.key.sign(&signed).expect("a signature")),
            "userHandle": null,
        });
        self.answer(response)
    }

    fn data(&self, relying_party: &str, flags: u8) -> Vec<u8> {
        let verified = if self.verifies { USER_VERIFIED } else { 0 };
        let mut data = Sha256::digest(relying_party).to_vec();
        data.push(USER_PRESENT | verified | flags);
        data.extend(self.signed.to_be_bytes());
        data
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let data = json!({
            "type": kind,
            "challenge": options["challenge"],
            "origin": self.origin,
            "crossOrigin": false,
        });
        data.to_string().into_bytes()
    }

    fn answer(&self, response: Value) -> Value {
        let id = encode(&self.id);
        json!({ "id": id, "rawId": id, "type": "public-key", "response": response, "extensions": {} })
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
