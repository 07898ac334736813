//! Sends browsers to the provider, and finds out who comes back.

use std::sync::Arc;

use anyhow::Context as _;
use chrono::TimeDelta;
use innkeeper_alerter::Exchange;
use innkeeper_core::Time;
use innkeeper_core::claims::ClaimRules;
use innkeeper_node::config::OpenIdConfig;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreClientAuthMethod, CoreErrorResponseType, CoreGenderClaim,
    CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreResponseType,
    CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessToken, AccessTokenHash, AdditionalClaims, AuthType, AuthenticationFlow, AuthorizationCode,
    ClaimsVerificationError, Client, ClientId, ClientSecret, CsrfToken, EmptyExtraTokenFields,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IdToken, IdTokenClaims, IdTokenFields, IssuerUrl, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope,
    SignatureVerificationError, StandardErrorResponse, StandardTokenResponse, SubjectIdentifier,
    TokenResponse as _, UserInfoClaims, UserInfoError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::known::{Description, Known, Unanswered};
use super::{Beginning, CALLBACK, OpenIdTrouble, Person, Returned, shown};

/// How far the provider's clock may be behind this one.
const LEEWAY: TimeDelta = TimeDelta::minutes(1);
/// The longest code and access token that are passed on, and the longest subject (OpenID Connect Core 2).
const LONGEST_SECRET: usize = 16 * 1024;
const LONGEST_SUBJECT: usize = 255;
/// By which signatures a token is known to be the provider's: those of a key that it alone has. A token that is signed by the
/// client's secret, or not at all, is not.
const SIGNATURES: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// The claims that the crate has no field for.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Others {
    #[serde(flatten)]
    claims: Map<String, Value>,
}

impl AdditionalClaims for Others {}

type Token = IdToken<Others, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
type Tokens = StandardTokenResponse<
    IdTokenFields<
        Others,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;
type Errors = StandardErrorResponse<CoreErrorResponseType>;
type Asking = Client<
    Others,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    Errors,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The provider, as the configuration has it. All that it does may block for as long as the provider takes.
pub(crate) struct Provider {
    client_id: ClientId,
    client_secret: Option<ClientSecret>,
    scopes: Vec<Scope>,
    redirect: RedirectUrl,
    rules: ClaimRules,
    trust_names: bool,
    known: Known,
}

impl Provider {
    /// One that sends people back to `public_url`. Connects nowhere.
    ///
    /// # Errors
    /// Addresses that are none, and certificates that cannot be read.
    pub fn new(config: &OpenIdConfig, public_url: &str) -> anyhow::Result<Self> {
        let exchange = Exchange::new(config.ca_file.as_ref())
            .map_err(|invalid| anyhow::anyhow!("web.openid.{invalid}"))?;
        let issuer = IssuerUrl::new(config.issuer.clone()).context("web.openid.issuer")?;
        Ok(Self {
            client_id: ClientId::new(config.client_id.clone()),
            client_secret: config
                .client_secret
                .as_ref()
                .map(|secret| ClientSecret::new(secret.reveal().to_owned())),
            scopes: config
                .scopes
                .iter()
                .filter(|scope| *scope != "openid")
                .map(|scope| Scope::new(scope.clone()))
                .collect(),
            redirect: RedirectUrl::new(format!("{public_url}{CALLBACK}")).context("public_url")?,
            rules: config.rules.clone(),
            trust_names: config.trust_names,
            known: Known::new(issuer, exchange),
        })
    }

    /// Where a browser goes to log in.
    pub fn begin(&self, login: &Beginning) -> Result<String, OpenIdTrouble> {
        let client = self.client(&*self.known.description()?)?;
        let (state, nonce) = (CsrfToken::new(login.state().to_owned()), Nonce::new(login.nonce()));
        let challenge =
            PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(login.verifier()));
        let (url, ..) = client
            .authorize_url(
                AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
                move || state,
                move || nonce,
            )
            .add_scopes(self.scopes.clone())
            .set_pkce_challenge(challenge)
            .url();
        Ok(url.into())
    }

    /// Who comes back.
    pub fn end(&self, login: &Beginning, returned: &Returned, now: Time) -> Result<Person, OpenIdTrouble> {
        let description = self.known.description()?;
        check_issuer(&description, returned.issuer.as_deref())?;
        if !returned.error.is_empty() {
            let what = [returned.error.as_str(), returned.error_description.as_str()];
            let what: Vec<String> = what.into_iter().filter(|text| !text.is_empty()).map(shown).collect();
            return Err(OpenIdTrouble::Refused(what.join(": ")));
        }
        if returned.code.is_empty() || returned.code.len() > LONGEST_SECRET {
            return Err(OpenIdTrouble::Untrusted("it contains no code".to_owned()));
        }
        let client = self.client(&description)?;
        let tokens = self.exchange(&client, login, &returned.code)?;
        let claims = self.verified(&description, &tokens, login, now)?;
        let (subject, stated) = (claims.subject().clone(), as_json(&claims)?);
        if subject.is_empty() || subject.len() > LONGEST_SUBJECT || subject.chars().any(char::is_control) {
            return Err(OpenIdTrouble::Untrusted("its token names no user (sub)".to_owned()));
        }
        let more = match self.rules.are_answered_by(&stated) || client.user_info_url().is_none() {
            true => None,
            false => Some(self.user_info(&client, tokens.access_token(), &subject)?),
        };
        let sources: Vec<&Value> = [Some(&stated), more.as_ref()].into_iter().flatten().collect();
        Ok(Person {
            issuer: description.issuer().as_str().to_owned(),
            name: self.rules.name_in(&sources),
            role: self.rules.role_in(&sources),
            unsaid: self
                .rules
                .are_silent_on_roles(&sources)
                .then(|| self.rules.unsaid(&sources, &self.scope_names())),
            subject: subject.to_string(),
        })
    }

    /// What it takes to have a role.
    pub fn needed(&self) -> String {
        self.rules.needed()
    }

    /// Whether the provider says each time what somebody may do.
    pub fn role_follows(&self) -> bool {
        self.rules.roles.is_some()
    }

    /// Whether somebody who is called like a user is that user.
    pub fn trusts_names(&self) -> bool {
        self.trust_names
    }

    /// What it is asked for.
    fn scope_names(&self) -> Vec<String> {
        std::iter::once("openid".to_owned())
            .chain(self.scopes.iter().map(|scope| scope.to_string()))
            .collect()
    }

    fn client(&self, description: &Description) -> Result<Asking, OpenIdTrouble> {
        let client = Asking::from_provider_metadata(
            description.clone(),
            self.client_id.clone(),
            self.client_secret.clone(),
        )
        .set_redirect_uri(self.redirect.clone());
        let methods = description.token_endpoint_auth_methods_supported();
        let takes = |method: &CoreClientAuthMethod| methods.is_none_or(|known| known.contains(method));
        // Basic is what a provider takes that does not say.
        if takes(&CoreClientAuthMethod::ClientSecretBasic) || self.client_secret.is_none() {
            return Ok(client.set_auth_type(AuthType::BasicAuth));
        }
        match takes(&CoreClientAuthMethod::ClientSecretPost) {
            true => Ok(client.set_auth_type(AuthType::RequestBody)),
            false => Err(OpenIdTrouble::Away(
                "it takes client_secret neither by client_secret_basic nor by client_secret_post".to_owned(),
            )),
        }
    }

    /// The tokens that the code is good for, once.
    fn exchange(&self, client: &Asking, login: &Beginning, code: &str) -> Result<Tokens, OpenIdTrouble> {
        let away = |what: String| OpenIdTrouble::Away(what);
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| away(format!("its description is incomplete: {error}")))?
            .set_pkce_verifier(PkceCodeVerifier::new(login.verifier()));
        request.request(&|request| self.known.send(request)).map_err(|error| match error {
            RequestTokenError::Request(error) => away(error.to_string()),
            RequestTokenError::ServerResponse(said) => {
                let description = said.error_description().map(|text| format!(": {text}"));
                let is_unknown_client = *said.error() == CoreErrorResponseType::InvalidClient;
                let said = shown(&format!("{}{}", said.error().as_ref(), description.unwrap_or_default()));
                OpenIdTrouble::Unaccepted(match is_unknown_client {
                    true => format!(
                        "the provider does not accept this Innkeeper ({said}); an admin has to check client_id and \
                         client_secret in [web.openid]"
                    ),
                    false => format!("the provider does not accept its own code ({said}); begin again from here"),
                })
            }
            // Its body may hold tokens.
            RequestTokenError::Parse(error, _) => OpenIdTrouble::Untrusted(format!(
                "its token answer cannot be read, at {}",
                shown(&error.path().to_string())
            )),
            RequestTokenError::Other(what) => away(shown(&what)),
        })
    }

    /// The claims of a token that is the provider's, made for this login and this program, and not over.
    fn verified(
        &self,
        description: &Arc<Description>,
        tokens: &Tokens,
        login: &Beginning,
        now: Time,
    ) -> Result<IdTokenClaims<Others, CoreGenderClaim>, OpenIdTrouble> {
        let token = tokens
            .id_token()
            .ok_or_else(|| OpenIdTrouble::Untrusted("there is no ID token in it".to_owned()))?;
        let first = self.look_at(description, token, tokens.access_token(), login, now);
        let is_unknown = matches!(
            &first,
            Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey))
        );
        let looked = match is_unknown {
            false => first,
            // It may be new.
            true => match self.known.newer(description)? {
                Some(newer) => self.look_at(&newer, token, tokens.access_token(), login, now),
                None => first,
            },
        };
        looked.map_err(|error| OpenIdTrouble::Untrusted(unverified(&error)))
    }

    fn look_at(
        &self,
        description: &Description,
        token: &Token,
        access_token: &AccessToken,
        login: &Beginning,
        now: Time,
    ) -> Result<IdTokenClaims<Others, CoreGenderClaim>, ClaimsVerificationError> {
        let client =
            self.client(description).map_err(|trouble| ClaimsVerificationError::Other(trouble.problem()))?;
        let verifier = client
            .id_token_verifier()
            .set_allowed_algs(SIGNATURES)
            .set_time_fn(move || now - LEEWAY)
            // Looked at below: only where the token says for whom of them it was made.
            .set_other_audience_verifier_fn(|_| true);
        let claims = token.claims(&verifier, &Nonce::new(login.nonce()))?;
        let party = claims.authorized_party();
        let is_for_us = match party {
            Some(party) => *party == self.client_id,
            None => claims.audiences().len() == 1,
        };
        if !is_for_us {
            let what = "it was made for another application (azp)".to_owned();
            return Err(ClaimsVerificationError::InvalidAudience(what));
        }
        if let Some(said) = claims.access_token_hash() {
            let (algorithm, key) = (token.signing_alg(), token.signing_key(&verifier));
            let algorithm = algorithm.map_err(ClaimsVerificationError::SignatureVerification)?;
            let key = key.map_err(ClaimsVerificationError::SignatureVerification)?;
            let computed = AccessTokenHash::from_token(access_token, algorithm, key)
                .map_err(|error| ClaimsVerificationError::Other(error.to_string()))?;
            if computed != *said {
                let what = "the access token does not belong to it (at_hash)".to_owned();
                return Err(ClaimsVerificationError::Other(what));
            }
        }
        Ok(claims.clone())
    }

    /// What the provider says of the same person where the token does not say enough.
    fn user_info(
        &self,
        client: &Asking,
        access_token: &AccessToken,
        subject: &SubjectIdentifier,
    ) -> Result<Value, OpenIdTrouble> {
        let is_sendable = access_token.secret().bytes().all(|byte| byte.is_ascii_graphic());
        if !is_sendable || access_token.secret().len() > LONGEST_SECRET {
            return Err(OpenIdTrouble::Untrusted("its access token is invalid".to_owned()));
        }
        let request = client
            .user_info(access_token.clone(), Some(subject.clone()))
            .map_err(|error| OpenIdTrouble::Away(error.to_string()))?;
        let answer: Result<UserInfoClaims<Others, CoreGenderClaim>, UserInfoError<Unanswered>> =
            request.request(&|request| self.known.send(request));
        match answer {
            Ok(claims) => as_json(&claims),
            Err(UserInfoError::Request(error)) => Err(OpenIdTrouble::Away(error.to_string())),
            Err(UserInfoError::Response(status, ..)) => {
                Err(OpenIdTrouble::Away(format!("its userinfo: {status}")))
            }
            Err(UserInfoError::ClaimsVerification(error)) => {
                Err(OpenIdTrouble::Untrusted(format!("its userinfo: {}", unverified(&error))))
            }
            Err(_) => Err(OpenIdTrouble::Untrusted("its userinfo cannot be read".to_owned())),
        }
    }
}

/// Whether the answer comes from the provider that was asked (RFC 9207): another one may have been made to send its own here.
fn check_issuer(description: &Description, said: Option<&str>) -> Result<(), OpenIdTrouble> {
    let is_announced = description.additional_metadata().authorization_response_iss_parameter_supported;
    match said {
        Some(said) if said == description.issuer().as_str() => Ok(()),
        None if !is_announced => Ok(()),
        _ => Err(OpenIdTrouble::Untrusted(
            "it does not come from the provider that was asked (iss)".to_owned(),
        )),
    }
}

fn as_json(claims: &impl Serialize) -> Result<Value, OpenIdTrouble> {
    serde_json::to_value(claims).map_err(|error| OpenIdTrouble::Untrusted(format!("invalid claims: {error}")))
}

fn unverified(error: &ClaimsVerificationError) -> String {
    let what = match error {
        ClaimsVerificationError::SignatureVerification(error) => format!("its token's signature: {error}"),
        error => format!("its token: {error}"),
    };
    shown(&what)
}
