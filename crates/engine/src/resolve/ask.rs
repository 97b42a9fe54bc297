//! Asking the links of a chain: local ones first, remote ones all at once.

use futures_util::future::join_all;
use strongroom_core::port::BackendError;
use strongroom_core::port::Fetched;
use strongroom_core::port::Lookup;

use super::Fallback;
use super::Link;
use super::Origin;
use super::Resolved;
use super::Search;

type Answer = Result<Option<Fetched>, BackendError>;

/// What each link answered for each secret: `None` where it was not asked.
struct Board(Vec<Vec<Option<Answer>>>);

impl Search<'_, '_> {
    /// The precedence is the chain's order, whoever answers first: a remote link before a local
    /// one wins over it. Nothing is fetched over a network that an earlier local link has.
    pub(super) async fn ask_chain(&mut self, secrets: &mut [Resolved<'_>]) {
        let links = self.chain;
        let row = || links.iter().map(|_| None).collect();
        let mut board = Board(secrets.iter().map(|_| row()).collect());
        for (at, link) in links.iter().enumerate() {
            if link.is_remote {
                continue;
            }
            let wanted = self.wanted(secrets, &board, at);
            let answers = self.ask(link, secrets, &wanted).await;
            board.note(at, wanted, answers);
        }
        let remote = links.iter().enumerate().filter(|(_, link)| link.is_remote);
        let asked = remote.map(|(at, link)| {
            let wanted = self.wanted(secrets, &board, at);
            let (search, secrets) = (&*self, &*secrets);
            async move {
                let answers = search.ask(link, secrets, &wanted).await;
                (at, wanted, answers)
            }
        });
        for (at, wanted, answers) in join_all(asked).await {
            board.note(at, wanted, answers);
        }
        self.settle(secrets, board);
    }

    /// The secrets that no earlier local link has settled. What a server makes for each run is
    /// asked of no other link.
    fn wanted(&self, secrets: &[Resolved<'_>], board: &Board, at: usize) -> Vec<usize> {
        let is_dynamic_link = self.chain.get(at).is_some_and(super::is_dynamic);
        let is_for =
            |secret: &Resolved<'_>| secret.declaration.dynamic.is_some() == is_dynamic_link;
        let earlier = self.chain.get(..at).unwrap_or_default();
        let is_open = |row: &[Option<Answer>]| {
            let mut local = earlier.iter().zip(row).filter(|(link, _)| !link.is_remote);
            !local.any(|(link, answer)| self.settles(link, answer.as_ref()))
        };
        let rows = board.0.iter().enumerate();
        rows.zip(secrets)
            .filter(|((_, row), secret)| is_open(row) && is_for(secret))
            .map(|((at, _), _)| at)
            .collect()
    }

    fn settles(&self, link: &Link, answer: Option<&Answer>) -> bool {
        match answer {
            // An empty value is no value: templates of .env files are full of them.
            Some(Ok(Some(fetched))) => !fetched.value.is_empty(),
            Some(Err(_)) => !link.is_optional && self.request.fallback == Fallback::NotFound,
            Some(Ok(None)) | None => false,
        }
    }

    async fn ask(&self, link: &Link, secrets: &[Resolved<'_>], wanted: &[usize]) -> Vec<Answer> {
        let declared = wanted.iter().filter_map(|at| secrets.get(*at));
        let lookups: Vec<Lookup> = declared
            .map(|secret| self.lookup(secret.declaration))
            .collect();
        if lookups.is_empty() {
            return Vec::new();
        }
        link.backend.get_many(&lookups).await
    }

    /// Goes through the answers in the chain's order.
    fn settle(&mut self, secrets: &mut [Resolved<'_>], board: Board) {
        for (secret, row) in secrets.iter_mut().zip(board.0) {
            for (link, answer) in self.chain.iter().zip(row) {
                let Some(answer) = answer else { continue };
                let origin = Origin::Backend(link.backend.describe());
                self.take(secret, answer, origin, link.is_optional);
                if secret.value.is_some() || self.failed.contains(&secret.declaration.name) {
                    break;
                }
            }
        }
    }
}

impl Board {
    fn note(&mut self, link: usize, wanted: Vec<usize>, answers: Vec<Answer>) {
        for (secret, answer) in wanted.into_iter().zip(answers) {
            let cell = self.0.get_mut(secret).and_then(|row| row.get_mut(link));
            if let Some(cell) = cell {
                *cell = Some(answer);
            }
        }
    }
}
