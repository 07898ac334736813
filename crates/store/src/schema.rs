//! The tables, one description for both databases. migrations/ is the authority.

use diesel::{allow_tables_to_appear_in_same_query, joinable, table};

table! {
    reservations (id) {
        id -> BigInt,
        key -> Text,
        app -> Text,
        component -> Text,
        slug -> Text,
        owner -> Text,
        description -> Text,
        tags -> Text,
        notify -> Text,
        alerters -> Text,
        alert_msg -> Text,
        schedule -> Text,
        grace_ms -> BigInt,
        alert_after -> BigInt,
        remind_every_ms -> Nullable<BigInt>,
        notify_recovery -> Bool,
        max_run_ms -> Nullable<BigInt>,
        min_run_ms -> Nullable<BigInt>,
        is_site -> Bool,
        created_at -> BigInt,
        updated_at -> BigInt,
        old_slug -> Nullable<Text>,
        brought -> Nullable<Text>,
        alert_subject -> Text,
        recovery_msg -> Text,
        runbook -> Text,
        expect -> Text,
    }
}

table! {
    states (reservation_id) {
        reservation_id -> BigInt,
        last_checkin_at -> Nullable<BigInt>,
        last_start_at -> Nullable<BigInt>,
        last_fail_at -> Nullable<BigInt>,
        last_exit_code -> Nullable<Integer>,
        last_seen_at -> Nullable<BigInt>,
        last_source -> Text,
        runs_over_at -> Nullable<BigInt>,
        checkins -> BigInt,
        fails -> BigInt,
        status -> Text,
        wake_at -> BigInt,
        snoozed_until -> Nullable<BigInt>,
        fails_seen -> BigInt,
        checkins_seen -> BigInt,
        fail_streak -> BigInt,
        short_at -> Nullable<BigInt>,
        eager -> Bool,
        latest_checkin_id -> Nullable<BigInt>,
        previous_checkin_id -> Nullable<BigInt>,
        snoozes -> Nullable<Text>,
        heard_at -> Nullable<BigInt>,
        changed -> Nullable<Text>,
        reported_late -> Bool,
        unexpected_at -> Nullable<BigInt>,
        unexpected_figures -> Nullable<Text>,
        unexpected_checkin -> Nullable<BigInt>,
        accepted_from -> Nullable<BigInt>,
        runs_over_before -> Nullable<BigInt>,
    }
}

table! {
    runs (reservation_id, run_id) {
        reservation_id -> BigInt,
        run_id -> Text,
        started_at -> Nullable<BigInt>,
        ended_at -> Nullable<BigInt>,
        told_at -> Nullable<BigInt>,
        start_arrived_at -> Nullable<BigInt>,
    }
}

table! {
    checkins (id) {
        id -> BigInt,
        reservation_id -> BigInt,
        at -> BigInt,
        kind -> Text,
        exit_code -> Nullable<Integer>,
        duration_ms -> Nullable<BigInt>,
        run_id -> Nullable<Text>,
        source -> Text,
        notes -> Text,
        number -> BigInt,
        previous_id -> Nullable<BigInt>,
        arrived_at -> Nullable<BigInt>,
        signal -> Nullable<Text>,
        peak_memory_bytes -> Nullable<BigInt>,
        figures -> Nullable<Text>,
    }
}

table! {
    recent_values (reservation_id, name, checkin_id) {
        reservation_id -> BigInt,
        name -> Text,
        checkin_id -> BigInt,
        value -> Double,
        outcome -> Text,
    }
}

table! {
    alerts (id) {
        id -> BigInt,
        reservation_id -> BigInt,
        app -> Text,
        component -> Text,
        owner -> Text,
        cause -> Text,
        reason -> Text,
        sentence -> Text,
        dedup_key -> Text,
        opened_at -> BigInt,
        told_at -> BigInt,
        closed_at -> Nullable<BigInt>,
        success_before -> Nullable<BigInt>,
        ending -> Nullable<Text>,
        answered_until -> Nullable<BigInt>,
    }
}

table! {
    deliveries (id) {
        id -> BigInt,
        alert_id -> Nullable<BigInt>,
        event -> Text,
        alerter -> Text,
        recipient -> Text,
        notice -> Text,
        key -> Text,
        state -> Text,
        sending -> Nullable<Text>,
        attempts -> BigInt,
        next_at -> BigInt,
        lease_until -> Nullable<BigInt>,
        lease_token -> Nullable<Text>,
        problem -> Nullable<Text>,
        created_at -> BigInt,
        finished_at -> Nullable<BigInt>,
    }
}

table! {
    ping_keys (app) {
        app -> Text,
        key -> Text,
    }
}

table! {
    nodes (id) {
        id -> Text,
        role -> Text,
        host -> Text,
        address -> Text,
        version -> Text,
        started_at -> BigInt,
        beat_at -> BigInt,
        offset_ms -> BigInt,
        goodbye_at -> Nullable<BigInt>,
        told_at -> Nullable<BigInt>,
        written_until_at -> Nullable<BigInt>,
        proved_at -> Nullable<BigInt>,
        unable -> Text,
        problem -> Text,
    }
}

table! {
    duties (name) {
        name -> Text,
        beat_at -> BigInt,
        told_at -> Nullable<BigInt>,
        wanted_at -> Nullable<BigInt>,
        snoozed_until -> Nullable<BigInt>,
    }
}

table! {
    unjudged (reservation_id) {
        reservation_id -> BigInt,
        app -> Text,
        component -> Text,
        problem -> Text,
        since_at -> BigInt,
        again_at -> BigInt,
    }
}

table! {
    leases (name) {
        name -> Text,
        holder -> Text,
        until_at -> BigInt,
    }
}

table! {
    blind_windows (id) {
        id -> BigInt,
        from_at -> BigInt,
        until_at -> BigInt,
    }
}

table! {
    refusals (reservation_id) {
        reservation_id -> BigInt,
        from_at -> BigInt,
        until_at -> BigInt,
    }
}

table! {
    clock_steps (id) {
        id -> BigInt,
        at -> BigInt,
        clock -> Text,
        host -> Text,
        by_ms -> BigInt,
        outcome -> Text,
        ended_at -> Nullable<BigInt>,
    }
}

table! {
    checks (name) {
        name -> Text,
        state -> Text,
        problem -> Text,
        since_at -> BigInt,
        checked_at -> BigInt,
    }
}

table! {
    users (id) {
        id -> BigInt,
        name -> Text,
        role -> Text,
        password -> Nullable<Text>,
        created_at -> BigInt,
        confirmed -> Bool,
        second_factor_required -> Bool,
    }
}

table! {
    sessions (hash) {
        hash -> Text,
        user_id -> BigInt,
        csrf -> Text,
        created_at -> BigInt,
        seen_at -> BigInt,
        source -> Text,
        browser -> Text,
        method -> Text,
    }
}

table! {
    totp (user_id) {
        user_id -> BigInt,
        secret -> Text,
        created_at -> BigInt,
        used_at -> BigInt,
    }
}

table! {
    totp_setups (user_id) {
        user_id -> BigInt,
        session -> Text,
        secret -> Text,
        created_at -> BigInt,
    }
}

table! {
    recovery_codes (hash) {
        hash -> Text,
        user_id -> BigInt,
    }
}

table! {
    pending_logins (hash) {
        hash -> Text,
        user_id -> BigInt,
        tries -> BigInt,
        created_at -> BigInt,
        network -> Text,
    }
}

table! {
    identities (issuer, subject) {
        issuer -> Text,
        subject -> Text,
        user_id -> BigInt,
    }
}

table! {
    openid_logins (hash) {
        hash -> Text,
        network -> Text,
        next -> Text,
        began_at -> BigInt,
    }
}

table! {
    invitations (hash) {
        hash -> Text,
        user_id -> Nullable<BigInt>,
        expires_at -> BigInt,
    }
}

table! {
    passkeys (id) {
        id -> BigInt,
        user_id -> BigInt,
        credential_id -> Text,
        credential -> Text,
        sign_count -> BigInt,
        name -> Text,
        created_at -> BigInt,
        last_used_at -> Nullable<BigInt>,
    }
}

table! {
    ceremonies (hash, kind) {
        hash -> Text,
        kind -> Text,
        user_id -> BigInt,
        state -> Text,
        began_at -> BigInt,
    }
}

table! {
    login_failures (who) {
        who -> Text,
        failures -> BigInt,
        last_at -> BigInt,
    }
}

table! {
    tokens (id) {
        id -> BigInt,
        name -> Text,
        hash -> Text,
        scopes -> Text,
        apps -> Text,
        created_by -> Text,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        used_at -> Nullable<BigInt>,
        confirmed -> Bool,
        owner_id -> Nullable<BigInt>,
    }
}

table! {
    audit (id) {
        id -> BigInt,
        at -> BigInt,
        who -> Text,
        source -> Text,
        action -> Text,
        subject -> Text,
        detail -> Text,
    }
}

table! {
    checkouts (reservation_id) {
        reservation_id -> BigInt,
        app -> Text,
        component -> Text,
        checked_out_at -> BigInt,
        who -> Text,
        reservation -> Text,
        slug -> Nullable<Text>,
        old_slug -> Nullable<Text>,
    }
}

table! {
    shares (key) {
        key -> Text,
        shape -> Text,
        kind -> Text,
        subject -> Text,
        title -> Text,
        created_at -> BigInt,
        confirmed -> Bool,
    }
}

table! {
    ways (node_id) {
        node_id -> Text,
        alerters -> Text,
    }
}

table! {
    outages (alerter, recipient) {
        alerter -> Text,
        recipient -> Text,
        since_at -> BigInt,
        given_up -> BigInt,
        waiting -> BigInt,
        problem -> Text,
        told_at -> Nullable<BigInt>,
    }
}

table! {
    pacing (alerter, recipient) {
        alerter -> Text,
        recipient -> Text,
        next_at -> BigInt,
        sent_at -> Nullable<BigInt>,
        sent_before_at -> Nullable<BigInt>,
        token -> Text,
    }
}

table! {
    report_keys (key) {
        key -> Text,
        arrived_at -> BigInt,
    }
}

table! {
    late_failures (reservation_id, at) {
        reservation_id -> BigInt,
        at -> BigInt,
        noted_at -> BigInt,
    }
}

joinable!(ways -> nodes (node_id));
joinable!(states -> reservations (reservation_id));
joinable!(identities -> users (user_id));
joinable!(sessions -> users (user_id));
joinable!(tokens -> users (owner_id));
joinable!(pending_logins -> users (user_id));
joinable!(deliveries -> alerts (alert_id));
allow_tables_to_appear_in_same_query!(identities, users);
allow_tables_to_appear_in_same_query!(sessions, users);
allow_tables_to_appear_in_same_query!(tokens, users);
allow_tables_to_appear_in_same_query!(pending_logins, users);
allow_tables_to_appear_in_same_query!(leases, nodes);
allow_tables_to_appear_in_same_query!(ways, nodes);
allow_tables_to_appear_in_same_query!(reservations, states, runs, checkins, alerts, deliveries, ping_keys);
allow_tables_to_appear_in_same_query!(states, unjudged);
allow_tables_to_appear_in_same_query!(late_failures, reservations);
