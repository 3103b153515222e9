//! Nothing is changed without a word from somebody who saw what is changed.

use super::Global;
use super::error::Error;
use super::workspace::{Wish, Workspace};
use crate::plan::{Approved, Change, Plan};
use crate::resource::Observation;
use crate::view::{Answer, Question, Screen, plan};

/// Who is asked what.
pub(super) struct Asking<'a> {
    pub(super) global: &'a Global,
    pub(super) screen: &'a Screen,
    pub(super) workspace: &'a Workspace,
    pub(super) question: Question,
}

impl Asking<'_> {
    /// Asks whether to do what a plan says that was shown, and looks again: the world did not stand
    /// still while somebody thought about it. Returns what is to be done, which is no more than what
    /// was agreed to. Whoever gave the answer with the command is not asked.
    ///
    /// # Errors
    ///
    /// Refuses after a `no`, and where nobody is there to be asked.
    pub(super) async fn approved(
        &self,
        wish: &Wish<'_>,
        seen: (Observation, Plan),
    ) -> Result<(Observation, Plan), Error> {
        let (mut observed, mut plan) = seen;
        if self.global.auto_approve {
            return Ok((observed, plan));
        }
        while plan.has_work() {
            confirm(self.screen, self.question)?;
            let approved = Approved::of(&plan);
            (observed, plan) = self.workspace.plan(wish).await;
            let news = approved.news(&plan);
            if news.is_empty() {
                break;
            }
            self.tell(&plan, &news);
        }
        Ok((observed, plan))
    }

    /// Shows a plan that says more than the one before, and what it says more.
    fn tell(&self, plan: &Plan, news: &[&Change]) {
        let screen = self.screen;
        screen.warning("it is not as it was when you were asked; new in the plan:");
        screen.say(&plan::news(news, screen.talk()));
        screen.say("\n");
        screen.say(&plan::render(plan, &self.workspace.file(), screen.talk()));
    }
}

/// Asks, and goes on after a `yes` alone.
///
/// # Errors
///
/// Refuses after a `no`, and where nobody is there to be asked.
pub(super) fn confirm(screen: &Screen, question: Question) -> Result<(), Error> {
    match screen.ask(question)? {
        Answer::Yes => Ok(()),
        Answer::No => Err(Error::Refused {
            message: question.cancelled().to_owned(),
            hint: None,
        }),
        Answer::NoTerminal => Err(Error::refused(
            "nobody is there to be asked: the standard input is no terminal; nothing was changed",
            "give --auto-approve to go ahead without asking",
        )),
    }
}
