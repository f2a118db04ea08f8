//! A caller who orders one thing after another, Kiosk and ToGo, through the gateway or at a replica.

use std::{sync::Arc, time::Duration};

use posmesh_proto::common::v1::Product;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::sleep;

use super::{Manner, World, backend, draft::Draft, gateway, watchers};

pub(super) async fn go_on(world: Arc<World>, mut dice: StdRng) {
    while !world.closing.is_cancelled() {
        order(&world, &mut dice).await;
        sleep(world.pause(&mut dice)).await;
    }
}

/// Orders once, and sees to it.
pub async fn order(world: &Arc<World>, dice: &mut StdRng) {
    let product = if dice.random_bool(0.5) { Product::Kiosk } else { Product::ToGo };
    let draft = Draft::new(world, dice, product, None);
    if dice.random_bool(0.5) {
        by_http(world, dice, &draft).await;
    } else {
        by_grpc(world, dice, &draft).await;
    }
}

async fn by_http(world: &Arc<World>, dice: &mut StdRng, draft: &Draft) {
    let manner = Manner::by_chance(dice);
    // An impatient guest taps twice: the same request, at the same time.
    let twice = async { if dice.random_bool(0.1) { gateway::place(world, draft, manner, None).await } else { None } };
    let (ticket, again) = tokio::join!(gateway::place(world, draft, manner, None), twice);
    let Some(ticket) = ticket.or(again) else { return };
    if dice.random_bool(0.3) {
        watchers::at_the_gateway(world, draft.key.clone(), ticket.clone());
    }
    if dice.random_bool(0.1) {
        gateway::cancel(world, &draft.key, &ticket).await;
    }
    if dice.random_bool(0.3) {
        gateway::read(world, &draft.key, &ticket).await;
    }
    if dice.random_bool(0.1) {
        let (world, draft, rest) = (Arc::clone(world), draft.clone(), rest(dice));
        world.tasks.clone().spawn(async move {
            sleep(rest).await;
            gateway::place(&world, &draft, manner, None).await;
        });
    }
}

async fn by_grpc(world: &Arc<World>, dice: &mut StdRng, draft: &Draft) {
    let manner = Manner::by_chance(dice);
    let mut other = dice.fork();
    // Taken back while it is on its way, or before it is seen.
    let cancel =
        async { if other.random_bool(0.05) { backend::cancel(world, &mut other, draft).await } else { false } };
    let (order, _) = tokio::join!(backend::place(world, dice, draft, manner, None), cancel);
    let Some(order) = order else { return };
    if dice.random_bool(0.3) {
        let dice = dice.fork();
        watchers::at_a_replica(world, dice, draft.key.clone(), order.order_id);
    }
    if dice.random_bool(0.1) {
        backend::cancel(world, dice, draft).await;
    }
    if dice.random_bool(0.3) {
        backend::read(world, dice, &draft.key).await;
    }
    if dice.random_bool(0.1) {
        let (world, draft, rest, mut dice) = (Arc::clone(world), draft.clone(), rest(dice), dice.fork());
        world.tasks.clone().spawn(async move {
            sleep(rest).await;
            backend::place(&world, &mut dice, &draft, manner, None).await;
        });
    }
}

/// How long somebody waits who asks once more what became of an order that was taken.
fn rest(dice: &mut StdRng) -> Duration {
    Duration::from_millis(dice.random_range(500..10_000))
}
