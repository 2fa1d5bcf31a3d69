//! Open pages hear of what is done through another coordinator or beside all of them (I13).

use std::sync::Arc;

use db::OpenOptions;
use server::accounts::User;
use server::live::Happening;
use server::purchases::sandbox::Choice;
use server::purchases::{self, State};
use server::router::router;
use server::{background, credits, live};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;
use types::money::MicroCredits;

use crate::world::PATIENCE;
use crate::world::inside::Inside;

/// The first that is wanted of what a page hears.
async fn hears<T>(page: &mut Receiver<Happening>, wanted: impl Fn(&Happening) -> Option<T>) -> T {
    let heard = async {
        loop {
            if let Some(heard) = wanted(&page.recv().await.unwrap()) {
                return heard;
            }
        }
    };
    timeout(PATIENCE, heard).await.expect("the page is told")
}

/// A page of a user, as the browser opens it.
async fn opened(inside: &Inside, user: &User) -> Receiver<Happening> {
    let page = inside.app.live.listen(user, 1).unwrap();
    live::learn(&inside.app, vec![user.id]).await.unwrap();
    page
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i13_pages_hear_of_what_was_done_through_another_coordinator() {
    let here = Inside::open(OpenOptions::server()).await;
    background::start(&here.app, &router(&here.app));
    let there = here.beside().await;
    let ana = here.user("ana").await;
    let mut page = opened(&here, &ana).await;

    credits::grant(&there.app, &ana, MicroCredits::new(5_000_000), "from there").await.unwrap();
    let balance = hears(&mut page, |happening| match happening {
        Happening::Balance(balance) => Some(balance.available.clone()),
        _ => None,
    });
    assert_eq!(balance.await, "5.00");

    let purchase = purchases::buy(&there.app, &ana, "starter", "click").await.unwrap();
    let sandbox = Arc::clone(there.app.sandbox_payments.as_ref().unwrap());
    let checkout = sandbox.checkout(purchase.session.as_deref().unwrap()).await.unwrap().unwrap();
    sandbox.choose(&checkout, Choice::Pay).await.unwrap();
    let granted = purchases::fulfil(&there.app, purchase.id, None).await.unwrap();
    assert_eq!(granted.state, State::Granted);
    let balance = hears(&mut page, |happening| match happening {
        Happening::Balance(balance) => Some(balance.available.clone()),
        _ => None,
    });
    assert_eq!(balance.await, "505.00");
    let told = hears(&mut page, |happening| match happening {
        Happening::Purchase { id, state } => Some((*id, *state)),
        _ => None,
    });
    assert_eq!(told.await, (purchase.id, "granted"));

    // What was so before a page was opened is no news to it, and what is another's is none either.
    let ben = there.newcomer("ben").await;
    let mut page = opened(&here, &ben).await;
    for credits in ["1.00", "2.00"] {
        credits::grant(&there.app, &ben, MicroCredits::new(1_000_000), "more").await.unwrap();
        hears(&mut page, |happening| match happening {
            Happening::Balance(balance) => (balance.available == credits).then_some(()),
            Happening::Earnings { .. } | Happening::Market(_) => None,
            other => panic!("that is no news: {other:?}"),
        })
        .await;
    }
    there.verify(&ben).await;
    let told = hears(&mut page, |happening| match happening {
        Happening::Verification { state } => Some(*state),
        _ => None,
    });
    assert_eq!(told.await, "verified");
    here.app.stop();
    here.finish().await;
}
