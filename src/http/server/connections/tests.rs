use super::*;

fn client(n: u8) -> ClientKey {
    ClientKey::Address([10, 0, 0, n].into())
}

async fn admit(connections: &Arc<Connections>, client: ClientKey) -> Option<Admitted> {
    connections.enter(client).admitted().await
}

async fn idle(connections: &Arc<Connections>, n: u8) -> (Admitted, Arc<RequestState>) {
    let admitted = admit(connections, client(n)).await.unwrap();
    let state = Arc::new(RequestState::new(Arc::default()));
    admitted.connection().serves(&state);
    (admitted, state)
}

#[tokio::test(start_paused = true)]
async fn a_client_with_many_makes_room_for_one_with_none() {
    let connections = Connections::new(3, 2);
    let held = [
        idle(&connections, 1).await,
        idle(&connections, 1).await,
        idle(&connections, 2).await,
    ];
    assert!(connections.tell_short().is_none());
    let new = admit(&connections, client(3)).await.unwrap();
    let evicted = held
        .each_ref()
        .map(|(one, _)| one.connection().evicted().is_cancelled());
    assert_eq!(evicted, [true, false, false]);
    let holders = connections.tell_short().unwrap();
    assert_eq!(holders.iter().map(|(_, count)| count).sum::<usize>(), 3);
    assert!(connections.tell_short().is_none(), "told once");
    assert!(connections.short().is_some());
    // that one leaves is not told to those that stay
    drop(held);
    assert!(!new.connection().evicted().is_cancelled());
    tokio::time::advance(2 * SHORT_FOR).await;
    assert!(connections.short().is_none());
}

#[tokio::test(start_paused = true)]
async fn who_has_signed_in_keeps_its_connection() {
    let connections = Connections::new(2, 2);
    let board = idle(&connections, 1).await;
    board.0.connection().signed_in();
    let other = idle(&connections, 2).await;
    for n in 3..20 {
        drop(idle(&connections, n).await);
    }
    assert!(!board.0.connection().evicted().is_cancelled());
    assert!(other.0.connection().evicted().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_in_when_another_leaves_and_the_one_with_fewest_first() {
    let connections = Connections::new(2, 2);
    // handshakes of two clients: nobody of them is broken off for the third
    let first = admit(&connections, client(1)).await.unwrap();
    let second = admit(&connections, client(2)).await.unwrap();
    let waits = |n: u8| {
        let connections = Arc::clone(&connections);
        tokio::spawn(async move { admit(&connections, client(n)).await })
    };
    let (more, new) = (waits(2), waits(3));
    tokio::task::yield_now().await;
    assert!(!more.is_finished() && !new.is_finished());
    drop(first);
    let new = new.await.unwrap().unwrap();
    assert!(!more.is_finished());
    drop(second);
    let more = more.await.unwrap().unwrap();
    assert!(
        admit(&connections, client(4)).await.is_none(),
        "12 s are over"
    );
    drop((new, more));
    assert!(admit(&connections, client(4)).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_shared() {
    let connections = Connections::new(1, 1);
    let _held = admit(&connections, client(0)).await.unwrap();
    let mut waiting = Vec::new();
    {
        let mut table = lock(&connections.table);
        for _ in 0..WAITING {
            waiting.push(table.wait(client(1)).unwrap());
        }
        assert!(table.wait(client(1)).is_none());
        waiting.push(table.wait(client(2)).unwrap());
        assert_eq!(table.waiting.len(), WAITING);
    }
    assert!(waiting[WAITING - 1].try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn root_never_waits() {
    let connections = Connections::new(1, 1);
    let held = admit(&connections, ClientKey::User(1000)).await.unwrap();
    let root = connections.enter_always(ClientKey::User(0));
    assert!(!held.connection().evicted().is_cancelled());
    drop((held, root));
    assert!(!connections.are_taken());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_limit_lets_in_who_waits() {
    let connections = Connections::new(1, 1);
    let _held = admit(&connections, client(1)).await.unwrap();
    let waiting = tokio::spawn({
        let connections = Arc::clone(&connections);
        async move { admit(&connections, client(2)).await.is_some() }
    });
    tokio::task::yield_now().await;
    connections.resize(2, 1);
    assert!(waiting.await.unwrap());
}
