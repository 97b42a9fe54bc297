//! Which cluster, which namespace, with which credentials.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use kube::Config;
use kube::config::KubeConfigOptions;
use kube::config::Kubeconfig;
use kube::config::KubeconfigError;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Variables;
use strongroom_core::time::Span;
use strongroom_core::uri::BackendUri;

use crate::layout::Layout;

const OPTIONS: &[&str] = &["context", "kubeconfig", "key", "timeout"];
const TIMEOUT_SECONDS: i64 = 10;
const TIMEOUT_SECONDS_MAX: i64 = 600;
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Everything that is known before the first request.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) namespace: String,
    pub(crate) layout: Layout,
    pub(crate) timeout: Duration,
}

impl Settings {
    pub(crate) async fn load(
        uri: &BackendUri,
        variables: &Variables,
    ) -> Result<Self, BackendError> {
        if let Some(option) = uri.unknown_option(OPTIONS) {
            let message = format!("there is no option `{option}`");
            return Err(
                misconfigured(message).with_hint("k8s: knows context, kubeconfig, key and timeout")
            );
        }
        if uri.authority().is_some() {
            let message = "the cluster stands in the kubeconfig, not in the address";
            return Err(misconfigured(message).with_hint("write k8s:NAMESPACE?context=NAME"));
        }
        let timeout = timeout(uri)?;
        let (namespace, object) = split(uri.path().unwrap_or_default());
        let layout = Layout::new(object, uri.option("key"))?;
        let context = uri.option("context");
        let mut config = match kubeconfig_files(uri, variables) {
            Some(files) => from_files(&files, context).await?,
            None => in_cluster(variables, Path::new(SERVICE_ACCOUNT), context)?,
        };
        check_transport(&config)?;
        config.default_retry = false;
        config.connect_timeout = Some(timeout);
        let namespace = namespace.unwrap_or(&config.default_namespace).to_owned();
        if !is_label(&namespace) {
            let message = "a namespace is lower-case letters, digits and `-`, at most 63";
            return Err(misconfigured(message).with_hint("kubectl get namespaces lists them"));
        }
        Ok(Self {
            config,
            namespace,
            layout,
            timeout,
        })
    }
}

fn split(path: &str) -> (Option<&str>, Option<&str>) {
    let (namespace, object) = match path.split_once('/') {
        Some((namespace, object)) => (namespace, Some(object)),
        None => (path, None),
    };
    let some = |text: &'_ str| !text.is_empty();
    (
        Some(namespace).filter(|text| some(text)),
        object.filter(|text| some(text)),
    )
}

fn timeout(uri: &BackendUri) -> Result<Duration, BackendError> {
    let Some(text) = uri.option("timeout") else {
        return Ok(Duration::from_secs(TIMEOUT_SECONDS.unsigned_abs()));
    };
    let seconds = text.parse::<Span>().ok().map(Span::as_seconds);
    match seconds {
        Some(seconds @ 1..=TIMEOUT_SECONDS_MAX) => Ok(Duration::from_secs(seconds.unsigned_abs())),
        _ => {
            let message = "timeout is a span between 1s and 10m";
            Err(misconfigured(message).with_hint("e.g. timeout=30s"))
        }
    }
}

/// The files to read, as kubectl chooses them; `None` when there is none to choose.
fn kubeconfig_files(uri: &BackendUri, variables: &Variables) -> Option<Vec<PathBuf>> {
    if let Some(file) = uri.option("kubeconfig") {
        return Some(vec![file.into()]);
    }
    if let Some(files) = variables.text("KUBECONFIG") {
        let files = std::env::split_paths(files).filter(|file| !file.as_os_str().is_empty());
        return Some(files.collect());
    }
    let file = Path::new(variables.text("HOME")?).join(".kube/config");
    file.exists().then(|| vec![file])
}

async fn from_files(files: &[PathBuf], context: Option<&str>) -> Result<Config, BackendError> {
    let mut merged = Kubeconfig::default();
    for file in files {
        merged = Kubeconfig::read_from(file)
            .and_then(|next| merged.merge(next))
            .map_err(|error| unusable(&error, Some(file)))?;
    }
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    Config::from_custom_kubeconfig(merged, &options)
        .await
        .map_err(|error| unusable(&error, files.first()))
}

/// The library's own texts quote lines of the file, which may hold tokens.
fn unusable(error: &KubeconfigError, file: Option<&PathBuf>) -> BackendError {
    let file = file.map_or_else(
        || "the kubeconfig".into(),
        |file| file.display().to_string(),
    );
    let contexts = "kubectl config get-contexts lists what there is";
    match error {
        KubeconfigError::ReadConfig(source, path) => {
            misconfigured(format!("cannot read {}: {}", path.display(), source.kind()))
                .with_hint("name another file with kubeconfig=FILE or KUBECONFIG")
        }
        KubeconfigError::CurrentContextNotSet => {
            misconfigured(format!("{file} has no current context"))
                .with_hint("name one with context=NAME, or kubectl config use-context NAME")
        }
        KubeconfigError::LoadContext(name) => {
            misconfigured(format!("{file} has no context `{name}`")).with_hint(contexts)
        }
        KubeconfigError::LoadClusterOfContext(name) => {
            misconfigured(format!("{file} has no cluster `{name}`")).with_hint(contexts)
        }
        _ => misconfigured(format!("{file} is not a kubeconfig that can be used"))
            .with_hint("kubectl config view shows what kubectl makes of it"),
    }
}

/// A pod's service account. The library reads token and certificates again when they change.
fn in_cluster(
    variables: &Variables,
    folder: &Path,
    context: Option<&str>,
) -> Result<Config, BackendError> {
    let host = variables.text("KUBERNETES_SERVICE_HOST");
    let port = variables.text("KUBERNETES_SERVICE_PORT").unwrap_or("443");
    let (Some(host), None) = (host, context) else {
        let message = "no kubeconfig was found, and this is not a pod";
        return Err(
            misconfigured(message).with_hint("set KUBECONFIG, or name a file with kubeconfig=FILE")
        );
    };
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    let url = format!("https://{host}:{port}")
        .parse()
        .map_err(|_| misconfigured("KUBERNETES_SERVICE_HOST and _PORT are no address"))?;
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(|error| {
            misconfigured(format!("cannot read {}: {}", path.display(), error.kind()))
                .with_hint("let the pod mount its service account's token")
        })
    };
    let mut config = Config::new(url);
    config.default_namespace = read("namespace")?.trim().to_owned();
    drop(zeroize::Zeroizing::new(read("token")?));
    drop(read("ca.crt")?);
    config.root_cert_file = Some(folder.join("ca.crt"));
    config.auth_info.token_file = Some(folder.join("token").display().to_string());
    Ok(config)
}

/// Without TLS only to this machine (`kubectl proxy`): tokens and values would be read on the way.
fn check_transport(config: &Config) -> Result<(), BackendError> {
    let host = config.cluster_url.host().unwrap_or_default();
    let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    match config.cluster_url.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if is_here => Ok(()),
        _ => Err(misconfigured("an API server elsewhere needs TLS")
            .with_hint("write `server: https://…` in the kubeconfig")),
    }
}

/// A DNS label, as namespaces are.
fn is_label(name: &str) -> bool {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= 63
        && is_end(name.chars().next())
        && is_end(name.chars().last())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

pub(crate) fn misconfigured(message: impl Into<String>) -> BackendError {
    BackendError::new(BackendErrorKind::Misconfigured, "k8s", message)
}

#[cfg(test)]
mod tests;
