//! Google Secret Manager, Azure Key Vault and Kubernetes through the command line, against the
//! servers that the vendors' own clients find true.

use data_encoding::BASE64;
use strongroom_fakes::azure;
use strongroom_fakes::google;
use strongroom_fakes::kubernetes;
use strongroom_fakes::tls::Authority;
use strongroom_fakes::wait;
use strongroom_testkit::port::Port;

use crate::remote::takes_a_env_file;
use crate::support::Case;

/// The token that the API server knows.
const KUBERNETES_TOKEN: &str = "canary-bearer-token-6f20";

/// A case whose chain begins with a backend.
fn case_with(uri: &str) -> Case {
    let case = Case::new();
    lead(&case, uri);
    case
}

fn lead(case: &Case, uri: &str) {
    case.manifest(&format!(
        "[profiles.development]\nchain = [\"{uri}\", \"env\"]\n\
         [secrets.API_KEY]\npath = \"api/key\"\n"
    ));
}

fn google() -> (google::Fake, String) {
    let fake = wait(google::Fake::start());
    let uri = google_uri("shop/app", fake.port());
    (fake, uri)
}

fn google_uri(path: &str, port: u16) -> String {
    format!("gcp:{path}?endpoint=http://127.0.0.1:{port}&timeout=2s")
}

/// With an application that the vault's directory knows.
fn azure(case: &Case) -> (azure::Fake, String) {
    let authority = Authority::new();
    let fake = wait(azure::Fake::start(&authority));
    let folder = case.path("home");
    std::fs::write(folder.join("ca.pem"), authority.certificate()).unwrap();
    case.watch(azure::CLIENT_SECRET.as_bytes());
    case.watch(azure::TOKEN.as_bytes());
    case.env("AZURE_TENANT_ID", "tenant");
    case.env("AZURE_CLIENT_ID", "app");
    case.env("AZURE_CLIENT_SECRET", azure::CLIENT_SECRET);
    case.env(
        "AZURE_AUTHORITY_HOST",
        format!("https://127.0.0.1:{}", fake.port()),
    );
    let uri = azure_uri(case, fake.port());
    (fake, uri)
}

fn azure_uri(case: &Case, port: u16) -> String {
    let ca = case.path("home/ca.pem");
    format!(
        "azure://127.0.0.1:{port}/app?ca={}&timeout=2s",
        ca.display()
    )
}

/// With a kubeconfig that names the server and has two users, one of them unknown there.
fn kubernetes(case: &Case) -> kubernetes::Fake {
    let fake = wait(kubernetes::Fake::start(KUBERNETES_TOKEN));
    case.watch(KUBERNETES_TOKEN.as_bytes());
    kubeconfig(case, fake.url());
    fake
}

fn kubeconfig(case: &Case, url: &str) {
    let path = case.path("home/kubeconfig");
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters: [{{name: c, cluster: {{server: \"{url}\"}}}}]\n\
         users: [{{name: u, user: {{token: \"{KUBERNETES_TOKEN}\"}}}}, \
         {{name: stranger, user: {{token: nobody}}}}]\n\
         contexts:\n- {{name: test, context: {{cluster: c, user: u, namespace: shop}}}}\n\
         - {{name: stranger, context: {{cluster: c, user: stranger, namespace: shop}}}}\n"
    );
    std::fs::write(&path, config).unwrap();
    case.leave_open(&path);
    case.env("KUBECONFIG", &path);
}

/// What is done with the store is done with a backend: `get`, `set`, `list`, `check`, `run`.
fn works_like_the_store(case: &Case) {
    let (first, second) = (case.canary("first"), case.canary("second"));
    case.sr("get API_KEY")
        .code(3)
        .says("strongroom set API_KEY");
    case.sr("check").code(5);
    case.sr("set API_KEY").stdin(&first).ok();
    case.sr("set API_KEY").stdin(&second).ok();
    assert_eq!(case.get("API_KEY"), second.as_bytes());
    case.sr("list").ok().prints("api/key");
    case.sr("check").ok();
    let ran = case
        .run(&["run", "--no-redact", "--", "printenv", "API_KEY"])
        .reveals()
        .ok();
    assert_eq!(ran.out().trim_end(), second);
    let masked = case.run(&["run", "--", "printenv", "API_KEY"]).ok();
    assert_eq!(masked.out().trim_end(), "[redacted:API_KEY]");
    case.sr("tag API_KEY team=web").ok().says("team=web");
    case.sr("cp API_KEY other/key").ok();
    case.sr("mv other/key third/key").ok();
    case.sr("get other/key").code(3);
    assert_eq!(case.get("third/key"), second.as_bytes());
    case.sr("rm third/key --yes").ok();
    case.sr("get third/key").code(3);
    assert!(!case.store("store.db").exists());
}

/// Earlier versions can be looked at, and made current again.
fn keeps_versions(case: &Case) {
    let history = case.sr("history API_KEY --json").ok().json();
    let versions = history["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 2);
    assert_eq!(history["tags"]["team"], "web");
    let second = case.get("API_KEY");
    case.sr("rollback API_KEY").ok();
    assert_ne!(case.get("API_KEY"), second);
}

#[test]
fn a_chain_with_google_works_like_the_store() {
    let (fake, uri) = google();
    let case = case_with(&uri);
    works_like_the_store(&case);
    keeps_versions(&case);
    assert_eq!(fake.names(), ["app__api__key"]);
    // A removal there is for good: it is asked about, and nothing brings it back.
    case.sr("rm API_KEY").code(2).says("for good?");
    case.sr("undelete API_KEY")
        .code(1)
        .says("a gcp backend cannot bring back");
}

#[test]
fn a_chain_with_azure_works_like_the_store() {
    let case = Case::new();
    let (fake, uri) = azure(&case);
    lead(&case, &uri);
    works_like_the_store(&case);
    keeps_versions(&case);
    assert_eq!(fake.names(), ["app--api--key"]);
    case.sr("rm API_KEY").ok();
    case.sr("get API_KEY").code(3);
    case.sr("undelete API_KEY").ok();
    case.sr("get API_KEY").reveals().ok();
    case.sr("destroy API_KEY --yes").ok();
    case.sr("undelete API_KEY").code(3);
}

#[test]
fn a_chain_with_kubernetes_works_like_the_store() {
    let case = case_with("k8s:shop/app");
    let fake = kubernetes(&case);
    works_like_the_store(&case);
    for line in ["history API_KEY", "rollback API_KEY"] {
        case.sr(line)
            .code(1)
            .says("a k8s backend cannot keep earlier versions");
    }
    let object = fake.object("shop", "app").unwrap();
    assert!(object["data"]["api__key"].is_string(), "{object}");
}

#[test]
fn a_env_file_goes_to_google_and_back() {
    let (fake, _) = google();
    takes_a_env_file(&Case::new(), &google_uri("shop", fake.port()));
}

#[test]
fn a_env_file_goes_to_azure_and_back() {
    let case = Case::new();
    let (_fake, uri) = azure(&case);
    takes_a_env_file(&case, &uri.replace("/app?", "?"));
}

#[test]
fn a_env_file_goes_to_kubernetes_and_back() {
    let case = Case::new();
    let _fake = kubernetes(&case);
    takes_a_env_file(&case, "k8s:shop/app");
}

#[test]
fn an_export_is_applied_to_a_cluster_and_leaves_its_other_keys() {
    let case = Case::new();
    let fake = kubernetes(&case);
    let (first, second) = (case.canary("first"), case.canary("second"));
    case.manifest(
        "[profiles.development]\nchain = [\"dotenv:.env\"]\n\
         [secrets.API_KEY]\n[secrets.SESSION_KEY]\n",
    );
    case.write_open(".env", format!("API_KEY={first}\nSESSION_KEY={second}\n"));
    let data = |key: &str| fake.object("shop", "app").unwrap()["data"][key].clone();
    let applied = "applied 2 values to k8s:shop/app";
    case.sr("export --apply k8s:shop/app").ok().says(applied);
    assert_eq!(data("API_KEY"), BASE64.encode(first.as_bytes()));
    case.manifest("[profiles.development]\nchain = [\"env\"]\n[secrets.API_KEY]\n");
    case.env("API_KEY", &second);
    let outcome = case.sr("export --apply k8s:shop/app --json").ok();
    assert_eq!(outcome.json()["applied"], 1);
    assert_eq!(data("API_KEY"), BASE64.encode(second.as_bytes()));
    assert_eq!(data("SESSION_KEY"), BASE64.encode(second.as_bytes()));
    for wrong in ["k8s:shop", "vault:secret/app"] {
        let line = format!("export --apply {wrong}");
        case.sr(&line).code(2).says("write k8s:NAMESPACE/NAME");
    }
    case.sr("export --apply k8s:forbidden/app")
        .code(4)
        .says("kubectl auth can-i --list");
    case.sr("export --apply k8s:shop/app --format json").code(2);
}

/// Every command that needs the backend fails alike: the exit code, the cause, what to do.
/// `refill` is called before each, so that there are faults for all of them.
fn refuses(case: &Case, code: i32, cause: &str, fix: &str, refill: &dyn Fn()) {
    // The environment's value is no way out of a failure.
    case.env("API_KEY", "of-the-environment-1234");
    for line in [
        "get API_KEY",
        "check",
        "run -- true",
        "history API_KEY",
        "list",
    ] {
        refill();
        let failed = case.sr(line).code(code);
        let talk = format!("{}{}", failed.out(), failed.err());
        assert!(talk.contains(cause), "{line}: {cause:?} is not in\n{talk}");
        assert!(talk.contains(fix), "{line}: {fix:?} is not in\n{talk}");
    }
    refill();
    let failed = case.sr("set API_KEY").stdin("a-value-12345678").code(code);
    failed.says(cause).says(fix);
}

fn nothing() {}

#[test]
fn what_is_wrong_with_google_is_told_with_the_cause_and_the_fix() {
    let (fake, uri) = google();
    let case = case_with(&uri);
    refuses(
        &case,
        4,
        "Google does not know who asks",
        "gcloud auth application-default login",
        &|| fake.fail_next(&[401; 20]),
    );
    refuses(
        &case,
        8,
        "asks for fewer requests",
        "try again later",
        &|| fake.fail_next(&[429; 200]),
    );
    fake.fail_next(&[]);
    lead(&case, &google_uri("forbidden/app", fake.port()));
    refuses(
        &case,
        4,
        "Permission 'secretmanager.secrets",
        "roles/secretmanager",
        &nothing,
    );
    lead(&case, &google_uri("", fake.port()));
    refuses(
        &case,
        2,
        "no project is named",
        "GOOGLE_CLOUD_PROJECT",
        &nothing,
    );
    let nobody = Port::claim();
    lead(&case, &google_uri("shop/app", nobody.number()));
    refuses(
        &case,
        8,
        "Connection refused",
        "check the network",
        &nothing,
    );
    case.env(
        "GOOGLE_APPLICATION_CREDENTIALS",
        case.path("home/missing.json"),
    );
    lead(&case, "gcp:shop/app?timeout=2s");
    refuses(
        &case,
        4,
        "credentials",
        "gcloud auth application-default login",
        &nothing,
    );
}

#[test]
fn what_is_wrong_with_azure_is_told_with_the_cause_and_the_fix() {
    let case = Case::new();
    let (fake, uri) = azure(&case);
    lead(&case, &uri);
    refuses(
        &case,
        8,
        "the vault asks for fewer requests",
        "try again later",
        &|| fake.fail_next(&[(429, "Throttled"); 200]),
    );
    refuses(
        &case,
        4,
        "the vault refuses this",
        "Key Vault Secrets Officer",
        &|| fake.fail_next(&[(403, "Forbidden"); 20]),
    );
    fake.fail_next(&[]);
    let nobody = Port::claim();
    lead(&case, &azure_uri(&case, nobody.number()));
    refuses(
        &case,
        8,
        "Connection refused",
        "check the network",
        &nothing,
    );
    lead(&case, "azure:");
    refuses(&case, 2, "no vault is named", "az keyvault list", &nothing);
    lead(&case, &uri);
    let wrong = case.canary("wrong-secret");
    case.env("AZURE_CLIENT_SECRET", &wrong);
    refuses(
        &case,
        4,
        "Entra ID gave no token",
        "check AZURE_TENANT_ID",
        &nothing,
    );
    case.env("AZURE_TENANT_ID", "");
    refuses(
        &case,
        2,
        "AZURE_TENANT_ID is not set",
        "credential=managed",
        &nothing,
    );
}

#[test]
fn what_is_wrong_with_kubernetes_is_told_with_the_cause_and_the_fix() {
    let case = case_with("k8s:shop/app?timeout=2s");
    let fake = kubernetes(&case);
    refuses(
        &case,
        8,
        "the API server asks for fewer requests",
        "try again later",
        &|| fake.fail_next(&[429; 200]),
    );
    fake.fail_next(&[]);
    lead(&case, "k8s:shop/app?context=stranger");
    refuses(
        &case,
        4,
        "does not know who asks",
        "kubectl auth whoami",
        &nothing,
    );
    lead(&case, "k8s:forbidden/app");
    refuses(&case, 4, "forbidden", "kubectl auth can-i --list", &nothing);
    let nobody = Port::claim();
    kubeconfig(&case, &format!("http://127.0.0.1:{}", nobody.number()));
    lead(&case, "k8s:shop/app?timeout=2s");
    refuses(
        &case,
        8,
        "Connection refused",
        "kubectl cluster-info",
        &nothing,
    );
    case.env("KUBECONFIG", case.path("home/nothing"));
    refuses(
        &case,
        2,
        "cannot read",
        "name another file with kubeconfig=FILE or KUBECONFIG",
        &nothing,
    );
}
