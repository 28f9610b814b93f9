//! A secret that an argument refers to, as settings do.

use std::path::Path;

use secrecy::SecretString;

use super::env::Env;
use super::mistake::{Mistake, Mistakes};
use super::reading::Reading;

/// What a reference begins with.
const REFERENCES: [&str; 2] = ["env:", "file:"];

/// Follows `env:NAME` or `file:PATH` (without the newline at the end), given for the argument `name`.
///
/// # Errors
/// The text is no reference, since other users see the arguments of a process; the variable is not set; the file can't
/// be read.
pub fn secret(name: &str, reference: &str, env: &dyn Env) -> Result<SecretString, Mistakes> {
    if !REFERENCES.iter().any(|prefix| reference.starts_with(prefix)) {
        return Err(Mistakes::new(vec![Mistake {
            key: name.to_owned(),
            place: None,
            message: "is no reference; expected `env:NAME` or `file:PATH`, since others see arguments".into(),
        }]));
    }
    let reading = Reading::new(env, Path::new(""), Vec::new());
    let secret = reading.resolve(name, reference.to_owned());
    match (secret, reading.finish(&mut super::Files::default())) {
        (Some(secret), None) => Ok(secret.into()),
        (_, mistakes) => Err(mistakes.unwrap_or_else(|| Mistakes::new(Vec::new()))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_secret_is_a_variable_or_the_contents_of_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "in a file\n").unwrap();
        let env = BTreeMap::from([("K".to_owned(), "in a variable".to_owned())]);
        let found = |reference: &str| {
            let found = secret("--key-secret", reference, &env);
            found
                .map(|secret| secret.expose_secret().to_owned())
                .map_err(|mistakes| mistakes.to_string())
        };
        assert_eq!(found("env:K").unwrap(), "in a variable");
        assert_eq!(
            found(&format!("file:{}", file.path().display())).unwrap(),
            "in a file"
        );
        assert_eq!(
            found("env:NONE").unwrap_err(),
            "--key-secret: the environment variable `NONE` is not set"
        );
        assert!(
            found("file:no-such")
                .unwrap_err()
                .starts_with("--key-secret: the file `no-such`")
        );
        let refused = found("the secret itself").unwrap_err();
        assert!(
            refused.contains("expected `env:NAME`") && !refused.contains("itself"),
            "{refused}"
        );
    }
}
