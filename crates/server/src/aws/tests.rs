//! The door from end to end, without a network.

mod access;
mod declared;
mod hostile;
mod identity;
mod ledger;
mod mails;
mod overlap;
mod policies;
mod rotation;

use http::Request;
use http_body_util::BodyExt;
use http_body_util::Full;
use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::request;
use strongroom_crypto::request::Scope;

use crate::vault::tests::Reply;
use crate::vault::tests::World;

/// Who signs.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
    pub(super) region: &'static str,
}

/// What is sent, before it is signed.
pub(super) struct Sent<'a> {
    pub(super) service: &'a str,
    pub(super) target: Option<&'a str>,
    pub(super) body: &'a [u8],
}

impl World {
    /// An access key with policies.
    pub(super) async fn key(&self, policies: &[&str]) -> Signer {
        let body = json!({ "policies": policies }).to_string();
        let made = self.root("POST sys/aws/keys", &body).await;
        assert_eq!(made.status, 200, "{made:?}");
        let text = |name: &str| made.data()[name].as_str().unwrap().to_owned();
        Signer {
            id: text("access_key_id"),
            secret: text("secret_access_key"),
            token: None,
            region: "eu-central-1",
        }
    }

    /// The time as requests are signed with.
    fn stamp(&self) -> String {
        let now = jiff::Timestamp::from_microsecond(self.node.now().as_micros()).unwrap();
        now.strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    /// A request, signed.
    pub(super) fn signed(&self, signer: &Signer, sent: &Sent<'_>) -> Request<Full<bytes::Bytes>> {
        let stamp = self.stamp();
        let mut headers = vec![("host", "localhost"), ("x-amz-date", &stamp)];
        if let Some(token) = &signer.token {
            headers.push(("x-amz-security-token", token));
        }
        headers.extend(sent.target.map(|target| ("x-amz-target", target)));
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let sum = |bytes: &[u8]| data_encoding::HEXLOWER.encode(&request::sha256(bytes));
        let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", sum(sent.body));
        let scope = Scope {
            date: &stamp[..8],
            region: signer.region,
            service: sent.service,
        };
        let scope_text = format!(
            "{}/{}/{}/aws4_request",
            scope.date, scope.region, scope.service
        );
        let text = format!(
            "AWS4-HMAC-SHA256\n{stamp}\n{scope_text}\n{}",
            sum(canonical.as_bytes())
        );
        let secret = SecretValue::copy_from(signer.secret.as_bytes());
        let signature = request::sign(&secret, &scope, text.as_bytes());
        let signature = data_encoding::HEXLOWER.encode(&signature);
        let mut request = Request::builder().method("POST").uri("/");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let kind = match sent.target {
            Some(_) => "application/x-amz-json-1.1",
            None => "application/x-www-form-urlencoded",
        };
        request
            .header("content-type", kind)
            .header(
                "authorization",
                format!(
                    "AWS4-HMAC-SHA256 Credential={}/{scope_text}, SignedHeaders={names}, \
                     Signature={signature}",
                    signer.id
                ),
            )
            .body(Full::new(bytes::Bytes::copy_from_slice(sent.body)))
            .unwrap()
    }

    pub(super) async fn send(&self, request: Request<Full<bytes::Bytes>>) -> Reply {
        let response = crate::listen::tests::ask(&self.node, request).await;
        let status = response.status().as_u16();
        assert!(response.headers().contains_key("x-amzn-requestid"));
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Reply {
            status,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    /// Asks STS.
    pub(super) async fn sts(&self, signer: &Signer, form: &str) -> Reply {
        let sent = Sent {
            service: "sts",
            target: None,
            body: form.as_bytes(),
        };
        self.send(self.signed(signer, &sent)).await
    }

    /// Asks Secrets Manager.
    pub(super) async fn aws(&self, signer: &Signer, operation: &str, body: &str) -> Reply {
        let target = format!("secretsmanager.{operation}");
        let sent = Sent {
            service: "secretsmanager",
            target: Some(&target),
            body: body.as_bytes(),
        };
        self.send(self.signed(signer, &sent)).await
    }
}

impl Reply {
    /// Status and code of a failure.
    pub(super) fn code(&self) -> (u16, &str) {
        (
            self.status,
            self.body["__type"].as_str().unwrap_or_default(),
        )
    }

    /// The text of a tag of XML.
    pub(super) fn tag(&self, name: &str) -> &str {
        let begin = format!("<{name}>");
        let found = self.text.split_once(&begin);
        let rest = found.map_or("", |(_, rest)| rest);
        rest.split_once('<').map_or("", |(text, _)| text)
    }
}
