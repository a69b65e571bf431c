//! One question to a web server.

use std::{
    io,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use config::HttpCheck;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request,
    body::Incoming,
    client::conn::http1,
    header::{CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
        SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

use crate::attempt::plain;

/// How much of an answer is read in bytes.
const LONGEST: usize = 64 << 10;

/// Asks; why the answer is not good, if it is not.
pub(crate) async fn ask(check: &HttpCheck) -> Result<(), String> {
    let tls = match check.tls {
        true => Some(connector(check.verify)?),
        false => None,
    };
    ask_over(check, tls).await
}

/// Asks over TLS where there is what makes it.
async fn ask_over(check: &HttpCheck, tls: Option<TlsConnector>) -> Result<(), String> {
    let stream = TcpStream::connect(check.target)
        .await
        .map_err(|error| plain(&error))?;
    let Some(tls) = tls else {
        return converse(check, stream).await;
    };
    let name = ServerName::try_from(check.host.clone())
        .map_err(|_| "no certificate can be for its host".to_owned())?;
    let stream = tls.connect(name, stream).await;
    converse(check, stream.map_err(|error| refused(&error, check))?).await
}

/// Why there is no TLS with the server.
fn refused(error: &io::Error, check: &HttpCheck) -> String {
    let inner = error.get_ref().and_then(|it| it.downcast_ref());
    match inner {
        Some(TlsError::InvalidCertificate(why)) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate has expired".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("the certificate is not for {}", check.host)
            }
            CertificateError::UnknownIssuer => {
                "no authority of this host has signed the certificate; add the one that has, \
                 or write `verify = \"nothing\"`"
                    .to_owned()
            }
            why => format!("the certificate is not good: {why}"),
        },
        Some(error) => error.to_string(),
        None => plain(error),
    }
}

async fn converse(
    check: &HttpCheck,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<(), String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let request = Request::get(&check.path)
        .header(HOST, &check.authority)
        .header(USER_AGENT, "l2ha")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let question = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let (first, last) = check.status;
        if !(first..=last).contains(&status) {
            return Err(format!("status {status}"));
        }
        match &check.body {
            Some(text) => find(response.into_body(), text).await,
            None => Ok(()),
        }
    };
    // Both in this future: who drops it closes the connection.
    let mut connection = std::pin::pin!(connection);
    let mut question = std::pin::pin!(question);
    tokio::select! {
        answer = &mut question => answer,
        ended = &mut connection => match ended {
            // What has been read to the end may still wait to be looked at.
            Ok(()) => question.await,
            Err(error) => Err(error.to_string()),
        },
    }
}

/// Looks for a text in the beginning of an answer.
async fn find(mut body: Incoming, text: &str) -> Result<(), String> {
    let mut read = Vec::new();
    while read.len() < LONGEST {
        let Some(frame) = body.frame().await else {
            break;
        };
        let frame = frame.map_err(|error| error.to_string())?;
        if let Some(data) = frame.data_ref() {
            read.extend_from_slice(&data[..data.len().min(LONGEST - read.len())]);
        }
        if read.windows(text.len()).any(|part| part == text.as_bytes()) {
            return Ok(());
        }
    }
    Err(format!("`{text}` is not in the answer"))
}

/// What makes TLS of a connection, with the system's authorities or without any question.
fn connector(verify: bool) -> Result<TlsConnector, String> {
    static CHECKED: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    static UNCHECKED: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let config = match verify {
        true => CHECKED.get_or_init(|| tls_config(Some(authorities()?))),
        false => UNCHECKED.get_or_init(|| tls_config(None)),
    };
    config.clone().map(TlsConnector::from)
}

/// The system's authorities.
fn authorities() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(
            "this host has no certificate authorities; install ca-certificates, \
             or write `verify = \"nothing\"`"
                .to_owned(),
        );
    }
    Ok(roots)
}

/// Certificates are to be from one of these, if there are any; else each will do.
fn tls_config(authorities: Option<RootCertStore>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = match authorities {
        Some(authorities) => builder.with_root_certificates(authorities),
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
    };
    Ok(Arc::new(config.with_no_client_auth()))
}

/// Takes every certificate: `verify = "nothing"`.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
