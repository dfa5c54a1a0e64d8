//! Requests to one registry: one GET at a time, with the login that it asks for, and its
//! answer judged.
//!
//! oci-client does the authentication (challenge, token service, scopes). It is not used
//! for the requests themselves: it does not tell Retry-After and Content-Range, reads
//! documents of any length into memory, and takes a refused login for none
//! (docs/adr/0014).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use oci_client::RegistryOperation;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::credentials::{self, Credentials};
use super::error::{PullError, Result};
use super::registries::{Endpoint, Registries};

const USER_AGENT: &str = concat!("berth/", env!("CARGO_PKG_VERSION"));
/// How much of an error's text is read, and how much of it is shown.
const DETAIL_BYTES_MAX: usize = 4 << 10;
const DETAIL_CHARS_MAX: usize = 200;

/// A way to one registry, shared by all requests of a pull.
#[derive(Debug)]
pub(super) struct Session {
    http: reqwest::Client,
    pub(super) endpoint: Endpoint,
    pub(super) registries: Arc<Registries>,
    login: Mutex<Login>,
}

/// The login in force, and how often it was renewed: tokens expire while layers come.
#[derive(Debug, Default)]
struct Login {
    header: Option<HeaderValue>,
    as_whom: Option<String>,
    renewed: u64,
}

impl Session {
    pub(super) fn new(endpoint: Endpoint, registries: Arc<Registries>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(registries.connect_wait)
            .build()
            .map_err(PullError::Client)?;
        Ok(Self { http, endpoint, registries, login: Mutex::default() })
    }

    /// Host and port, for messages.
    pub(super) fn registry(&self) -> String {
        self.endpoint.registry.clone()
    }

    /// Asks for a manifest or blob, from `offset` on. `what` names it in errors.
    pub(super) async fn get(
        &self,
        (kind, name): (&str, &str),
        accept: &str,
        offset: Option<u64>,
        what: &str,
    ) -> Result<Response> {
        let url = self.endpoint.url(kind, name);
        let mut renewals = 0;
        loop {
            let (login, seen) = {
                let login = self.login.lock().await;
                (login.header.clone(), login.renewed)
            };
            let mut request = self.http.get(&url).header(ACCEPT, accept);
            if let Some(login) = login {
                request = request.header(AUTHORIZATION, login);
            }
            if let Some(offset) = offset {
                request = request.header(RANGE, format!("bytes={offset}-"));
            }
            let response = self.in_time(request.send()).await?;
            let response = response.map_err(|source| self.unreachable(source))?;
            if response.status() == StatusCode::UNAUTHORIZED && renewals == 0 {
                renewals += 1;
                self.renew(seen).await?;
                continue;
            }
            return self.judge(response, what).await;
        }
    }

    /// Waits for the registry, at most as long as it may send nothing.
    pub(super) async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T> {
        let waited = self.registries.stall_wait;
        let stalled = |_| PullError::Stalled { registry: self.registry(), waited };
        timeout(waited, answer).await.map_err(stalled)
    }

    fn unreachable(&self, source: reqwest::Error) -> PullError {
        PullError::Unreachable { registry: self.registry(), source: source.without_url() }
    }

    /// Logs in, unless another request has done so since `seen`.
    async fn renew(&self, seen: u64) -> Result<()> {
        let mut login = self.login.lock().await;
        if login.renewed != seen {
            return Ok(());
        }
        let credentials = self.credentials().await?;
        login.as_whom = Some(credentials.as_whom());
        login.header = self.authorization(credentials).await?;
        login.renewed += 1;
        Ok(())
    }

    /// Looks the login up: files, and perhaps a helper program.
    async fn credentials(&self) -> Result<Credentials> {
        let (endpoint, registries) = (self.endpoint.clone(), Arc::clone(&self.registries));
        let find = move || {
            let Endpoint { registry, repository, .. } = &endpoint;
            credentials::find(&registries.auth_files, registry, repository)
        };
        let found = tokio::task::spawn_blocking(find).await;
        let found = found.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        found.map_err(|source| PullError::Credentials { registry: self.registry(), source })
    }

    /// The header by which the registry knows the login: a token if it hands them out,
    /// user and password otherwise.
    async fn authorization(&self, credentials: Credentials) -> Result<Option<HeaderValue>> {
        let as_whom = credentials.as_whom();
        let auth = match &credentials {
            Credentials::Anonymous => RegistryAuth::Anonymous,
            Credentials::Basic { user, password } => {
                RegistryAuth::Basic(user.clone(), password.clone())
            }
            Credentials::Token(token) => return Ok(secret(&format!("Bearer {token}"))),
        };
        let failed = |source: OciDistributionError| match source {
            OciDistributionError::RequestError(source) => self.unreachable(source),
            source => PullError::Login {
                registry: self.registry(),
                as_whom: as_whom.clone(),
                source: Box::new(source),
            },
        };
        let client = Client::try_from(self.client_config()).map_err(failed)?;
        let reference = self.endpoint.reference();
        let token = client.auth(&reference, &auth, RegistryOperation::Pull);
        // Two requests: for the challenge, and for the token.
        let waited = self.registries.stall_wait * 2;
        let stalled = |_| PullError::Stalled { registry: self.registry(), waited };
        let token = timeout(waited, token).await.map_err(stalled)?.map_err(failed)?;
        Ok(match (token, credentials) {
            (Some(token), _) => secret(&format!("Bearer {token}")),
            (None, Credentials::Basic { user, password }) => {
                use base64::Engine as _;
                let both = format!("{user}:{password}");
                let encoded = base64::engine::general_purpose::STANDARD.encode(both);
                secret(&format!("Basic {encoded}"))
            }
            (None, _) => None,
        })
    }

    fn client_config(&self) -> ClientConfig {
        let host = self.endpoint.reference().resolve_registry().to_owned();
        let protocol = if self.endpoint.plain {
            ClientProtocol::HttpsExcept(vec![host])
        } else {
            ClientProtocol::Https
        };
        ClientConfig {
            protocol,
            connect_timeout: Some(self.registries.connect_wait),
            read_timeout: Some(self.registries.stall_wait),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        }
    }

    /// An answer with content, or what its status means.
    async fn judge(&self, mut response: Response, what: &str) -> Result<Response> {
        let status = response.status();
        if matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Ok(response);
        }
        let retry_after = retry_after(response.headers(), Timestamp::now());
        let detail = self.detail(&mut response).await;
        let (registry, what) = (self.registry(), what.to_owned());
        let login = self.login.lock().await;
        let as_whom = login.as_whom.clone().unwrap_or_else(|| "without a login".to_owned());
        Err(match status {
            StatusCode::UNAUTHORIZED => PullError::Unauthorized { registry, what, as_whom, detail },
            StatusCode::FORBIDDEN => PullError::Forbidden { registry, what, as_whom, detail },
            StatusCode::NOT_FOUND => PullError::NotFound { registry, what, detail },
            status => {
                let status = status.as_u16();
                PullError::Status { registry, what, status, detail, retry_after }
            }
        })
    }

    /// What an error says of itself, if it says anything; `: ` and a line of plain text.
    async fn detail(&self, response: &mut Response) -> String {
        let mut body = Vec::new();
        while body.len() < DETAIL_BYTES_MAX {
            match self.in_time(response.chunk()).await {
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
                // The status says enough.
                Ok(Ok(None) | Err(_)) | Err(_) => break,
            }
        }
        let text = words(&body);
        if text.is_empty() { text } else { format!(": {text}") }
    }
}

/// A header that is not to be shown.
fn secret(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The messages of an error document (distribution-spec, "Error Codes"), or the first line
/// of another text, without control characters and not long.
fn words(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Envelope {
        errors: Vec<One>,
    }
    #[derive(serde::Deserialize)]
    struct One {
        code: String,
        #[serde(default)]
        message: String,
    }
    let text = match serde_json::from_slice::<Envelope>(body) {
        Ok(envelope) => {
            let one = |it: &One| format!("{} {}", it.code, it.message).trim().to_owned();
            envelope.errors.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            let line = text.lines().next().unwrap_or_default().trim().to_owned();
            // A page for people says nothing in its first line.
            if line.starts_with('<') { String::new() } else { line }
        }
    };
    text.chars().filter(|c| !c.is_control()).take(DETAIL_CHARS_MAX).collect()
}

/// Retry-After (RFC 9110 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests;
