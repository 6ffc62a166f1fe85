//! TLS configuration (rustls): trust roots and client certificate.

use std::sync::Arc;

use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use url::{Origin, Url};

use super::server_certificate::Verifier;
use super::{Error, Options, Route};
use crate::pkcs12::{Pkcs12, Pkcs12Error};

const BEGIN_CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The text is not the PEM that it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not PEM")]
pub struct BadPem;

/// Certificates of authorities, in PEM. They are read when the first `https:` URL comes up: a bundle of
/// them is as large as a system's trust store, and takes as long.
#[derive(Debug, Clone)]
pub struct Roots(Bytes);

impl Roots {
    /// A text that has at least one certificate in it.
    pub fn from_pem(text: Vec<u8>) -> Result<Self, BadPem> {
        memchr::memmem::find(&text, BEGIN_CERTIFICATE).ok_or(BadPem)?;
        Ok(Self(text.into()))
    }

    fn read(&self) -> Result<Vec<CertificateDer<'static>>, BadPem> {
        let read = CertificateDer::pem_slice_iter(&self.0).collect::<Result<_, _>>();
        read.map_err(|_| BadPem)
    }
}

/// A client certificate, with those that lead from it to its authority, and its key. Only some origins see it: it tells
/// who the user is.
#[derive(Debug, Clone)]
pub struct Identity(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    origins: Vec<Origin>,
}

impl Identity {
    /// Reads both from their PEM texts, for these origins.
    pub fn from_pem(certificate: &[u8], key: &[u8], origins: Vec<Origin>) -> Result<Self, BadPem> {
        let read = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
        let chain = read.map_err(|_| BadPem)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| BadPem)?;
        if chain.is_empty() {
            return Err(BadPem);
        }
        Ok(Self(Arc::new(Shown {
            chain,
            key,
            origins,
        })))
    }

    /// Reads both from a PKCS #12 file, for these origins.
    pub fn from_pkcs12(
        file: &[u8],
        password: &str,
        origins: Vec<Origin>,
    ) -> Result<Self, Pkcs12Error> {
        let Pkcs12 { chain, key } = Pkcs12::open(file, password)?;
        Ok(Self(Arc::new(Shown {
            chain,
            key,
            origins,
        })))
    }

    /// The client's own certificate, as DER.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        self.0.chain.first().map(AsRef::as_ref)
    }

    /// Returns whether the origin of `url` may see it.
    pub(super) fn is_for(&self, url: &Url) -> bool {
        self.0.origins.contains(&url.origin())
    }
}

/// The settings of TLS for the origin of `url`. For an `http:` URL nobody is trusted, and so nothing is
/// read.
pub(super) fn config(options: &Options, url: &Url) -> Result<ClientConfig, Error> {
    let failed = |error: rustls::Error| Error::Connect(Box::new(error));
    // A second call finds the provider installed; that is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let builder = if url.scheme() == "https" {
        let mut roots = Vec::new();
        for bundle in &options.extra_roots {
            roots.extend(
                bundle
                    .read()
                    .map_err(|error| Error::Connect(error.into()))?,
            );
        }
        let verifier = Verifier::new(roots, provider).map_err(failed)?;
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
    } else {
        builder.with_root_certificates(rustls::RootCertStore::empty())
    };
    Ok(match identity(options, url) {
        Some(Identity(shown)) => builder
            .with_client_auth_cert(shown.chain.clone(), shown.key.clone_key())
            .map_err(failed)?,
        None => builder.with_no_client_auth(),
    })
}

/// The client certificate for the origin of `url`, if there is one.
///
/// A proxy with TLS gets the same settings and would see it, too, so behind one that may not there is none.
fn identity<'a>(options: &'a Options, url: &Url) -> Option<&'a Identity> {
    let identity = options.identity.as_ref().filter(|it| it.is_for(url))?;
    match options.route(url) {
        Route::Proxy(proxy, _) if proxy.scheme() == "https" && !identity.is_for(&proxy) => {
            tracing::warn!(
                %proxy,
                "the client certificate is not used: the proxy would see it, and its origin is not among those that may"
            );
            None
        }
        Route::Proxy(..) | Route::Direct(_) => Some(identity),
    }
}
