//! Port of the identity providers: how they are asked over HTTP.

use futures_util::future::BoxFuture;

use crate::core::oidc::Body;

/// Question to a provider.
#[derive(Debug, Clone, Copy)]
pub struct ProviderAsk<'a> {
    /// Address that is asked.
    pub url: &'a str,
    /// Certificates of authorities in PEM that replace those of the system.
    pub ca: Option<&'a str>,
    /// Form that is posted. None: the address is read.
    pub body: Option<&'a Body>,
}

/// Answer of a provider, whatever its status.
#[derive(Clone)]
pub struct ProviderAnswer {
    /// Status of HTTP.
    pub status: u16,
    /// Body, at most [`MAX_ANSWER`](crate::core::oidc::MAX_ANSWER) bytes.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for ProviderAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProviderAnswer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Asks identity providers: bounded in time and size, and without following redirects.
pub trait ProviderHttp: Send + Sync + 'static {
    /// Asks a provider.
    ///
    /// # Errors
    /// Why it was not reached or its answer not read, in words.
    fn ask<'a>(&'a self, ask: ProviderAsk<'a>) -> BoxFuture<'a, Result<ProviderAnswer, String>>;
}
