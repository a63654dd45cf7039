//! Makes every door of the gateway and joins them.
//!
//! Buses come first, then the doors, then what joins them: operations of capabilities, sinks of
//! routes, the administration. Never here: a socket of ours, a rule of a protocol.

use std::sync::Arc;

use axum::{Router, extract::Request, routing::get};
use buswire_backplane::Backplane;
use buswire_belay::{CapServer, Egress, Relay, SealKeys, StartRecords, SystemResolver};
use buswire_bridge::{Route, RouteDescription, RouteError, Routes};
use buswire_bus::{Buses, Created};
use buswire_mdp::{Broker, BrokerHandle};
use buswire_message::{Secret, SourceUrl};
use buswire_simplepush::SimplePush;

use super::{App, BuildError, Door, Platform, Reload, keys, settings, simplepush};
use crate::{
    activity::Activity,
    admin::{
        self, AdminLimits, AdminState, Authenticator, CertificateRoles,
        audit::{AuditLimits, AuditLog, Record},
        ports::Ports,
    },
    admin_tokens::Tokens,
    administration::{
        ActivityPort, BackplanePort, Backups, BrokerPort, CapabilityPort, InForce, InboundPort,
        ProvisioningJournal, PushPort, RoutePort, SubscriptionPort, SystemPort, TracePort,
    },
    config::{Config, RouteDeclaration, RouteStart},
    console,
    operations::Operations,
    peers::Peers,
    push::{
        inbound::Inbounds,
        subscriptions::{SubscriptionLimits, Subscriptions},
    },
    requests::Requests,
    service_metrics,
    services::{self, Rights},
    sinks::{Sinks, Subscribers},
    sources::PushSource,
    tasks::Tasks,
    titanic,
};

/// The doors, before anything joins them.
struct Doors {
    buses: Buses,
    backplane: Backplane,
    push: SimplePush,
    broker: BrokerHandle,
    requests: Requests,
    caps: CapServer,
    /// How windows are reached; `None` if that is off.
    relay: Option<Relay>,
    starts: StartRecords,
    /// The way to capabilities of other servers.
    egress: Egress,
    subscriptions: Subscriptions,
    inbounds: Inbounds,
    /// Who messages are from that the gateway itself publishes.
    source: SourceUrl,
}

/// Says what could not be made.
fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    what: &'static str,
) -> impl FnOnce(E) -> BuildError {
    move |source| BuildError::new(what, source)
}

pub(super) async fn compose(
    config: &Config,
    platform: &Platform,
    tasks: &Tasks,
) -> Result<App, BuildError> {
    let audit = audit_log(config, platform)?;
    let doors = doors(config, platform, tasks, &audit).await?;
    let operations = Operations {
        buses: doors.buses.clone(),
        requests: doors.requests.clone(),
        push: doors.push.clone(),
        egress: doors.egress.clone(),
        subscriptions: doors.subscriptions.clone(),
        inbounds: doors.inbounds.clone(),
        clock: Arc::clone(&platform.clock),
        source: doors.source.clone(),
        block_max: config.belay.block_max,
    };
    let bus_operations =
        operations.register(&doors.caps).map_err(failed("the operations of capabilities"))?;
    for bus in &config.buses {
        let created = doors.buses.create(&bus.name, bus.retention).await;
        if created.map_err(failed("a declared bus"))? == Created::New {
            declared(&audit, "BusService/CreateBus", format!("bus/{}", bus.name)).await?;
        }
    }
    let rights = Rights::new(&config.mdp.key_rights);
    let (caps, relay, block_max) =
        (doors.caps.clone(), doors.relay.clone(), config.belay.block_max);
    services::Context::new(caps, relay, bus_operations, rights.clone(), block_max)
        .register(&doors.broker)
        .await
        .map_err(failed("the gateway's Majordomo services"))?;
    titanic(config, platform, tasks, &doors.broker).await?;
    let activity = Activity::default();
    let routes = routes(config, platform, tasks, &doors, &audit, &activity).await?;
    let follow = activity.clone().follow(doors.buses.clone(), routes.clone(), tasks.stop());
    tasks.spawn("activity", follow);
    let certificates = CertificateRoles::default();
    certificates.replace(config.admin.certificate_roles.clone());
    let live = Live { certificates, shown: InForce::new(config.shown.clone()) };
    let reload = reload(doors.broker.clone(), rights, live.clone());
    let kept = Kept { audit, activity };
    let admin = administration(config, platform, tasks, &doors, &routes, live, kept).await?;
    let mut app = App {
        buses: doors.buses.clone(),
        doors: Vec::new(),
        admin: Some(admin),
        mdp_endpoints: settings::reachable_endpoints(&doors.broker),
        mdp_peers: doors.broker.link_endpoint(),
        reload,
    };
    add_doors(&mut app, config, doors, routes);
    Ok(app)
}

/// What the gateway keeps of what happens, to be shown.
struct Kept {
    audit: AuditLog,
    activity: Activity,
}

/// What of the administration changes while it runs.
#[derive(Clone)]
struct Live {
    certificates: CertificateRoles,
    shown: InForce,
}

/// Who may connect to the broker, and what for, changes while it runs, and so does what is [`Live`].
fn reload(broker: BrokerHandle, rights: Rights, live: Live) -> Reload {
    Arc::new(move |config| {
        let (broker, rights) = (broker.clone(), rights.clone());
        live.certificates.replace(config.admin.certificate_roles);
        live.shown.reload(config.shown);
        Box::pin(async move {
            rights.replace(&config.mdp.key_rights);
            broker.set_access(settings::mdp_access(&config.mdp)).await;
            match config.mdp.curve.as_ref().map(settings::mdp_allowed).transpose() {
                Ok(Some(keys)) => broker.allow(keys).await,
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "the allowed keys stay as they were"),
            }
        })
    })
}

async fn doors(
    config: &Config,
    platform: &Platform,
    tasks: &Tasks,
    audit: &AuditLog,
) -> Result<Doors, BuildError> {
    let Platform { store, clock, entropy, tracer, public_url, .. } = platform;
    let bus_config = settings::buses(&config.backplane, public_url, tracer);
    let buses = Buses::open(Arc::clone(store), Arc::clone(clock), bus_config)
        .await
        .map_err(failed("the buses"))?;
    // Long polls and subscriptions end with it, so it ends when draining begins.
    tasks.spawn("buses", buses.run(tasks.draining()));

    let backplane = backplane(config, platform, tasks, buses.clone(), audit)?;
    let key = keys::load_or_make("simplepush", &**store, &**entropy, clock.now())
        .await
        .map_err(failed("the key of push endpoints"))?;
    let push = simplepush::config(&config.simplepush, public_url, &key)
        .map_err(failed("the settings of simplepush"))?;
    let push = SimplePush::new(Arc::clone(store), Arc::clone(clock), Arc::clone(entropy), push);
    let (runner, stop) = (push.clone(), tasks.stop());
    tasks.spawn("simplepush", async move { runner.run(stop).await });

    let keys = keys::parse(&platform.belay_keys).map_err(failed("belay.keys"))?;
    keys::check("belay", &keys, &**store, clock.now()).await.map_err(failed("belay.keys"))?;
    let mut caps = settings::belay(&config.belay, public_url, &keys)
        .map_err(failed("the settings of belay"))?;
    caps.frame.relay = config.relay.is_some();
    caps.tracer = Some(tracer.clone());
    let starts = settings::starts(&caps);
    let seal = caps.seal_keys.clone();
    let (time, chance) = (Arc::clone(clock), Arc::clone(entropy));
    let starts = if store.status().is_shared {
        StartRecords::shared(Arc::clone(store), time, chance, starts)
    } else {
        StartRecords::new(time, chance, starts)
    };
    let caps = CapServer::new(Arc::clone(store), Arc::clone(clock), Arc::clone(entropy), caps);
    let egress = settings::egress(&config.belay.egress).map_err(failed("belay.egress"))?;
    let egress = Egress::new(egress, Arc::new(SystemResolver))
        .map_err(failed("the client of other servers"))?;
    let (runner, stop) = (caps.clone(), tasks.stop());
    tasks.spawn("belay", async move { runner.watch(stop).await });
    let relay = relay(config, platform, tasks, seal)?;

    let broker = broker(config, platform, keys.first(), tasks).await?;
    let requests = Requests::new(broker.clone(), tracer.clone(), &config.mdp.trace_services);
    let limits = SubscriptionLimits::default();
    let subscriptions = Subscriptions::new(Arc::clone(store), Arc::clone(clock), limits)
        .map_err(failed("the subscriptions of push endpoints"))?;
    let (store, clock, entropy) = (Arc::clone(store), Arc::clone(clock), Arc::clone(entropy));
    let inbounds = Inbounds::new(store, clock, entropy, settings::base(public_url))
        .map_err(failed("the inbound endpoints"))?;
    let source = public_url.as_str().parse().map_err(failed("http.public_url"))?;
    Ok(Doors {
        buses,
        backplane,
        push,
        broker,
        requests,
        caps,
        relay,
        starts,
        egress,
        subscriptions,
        inbounds,
        source,
    })
}

fn backplane(
    config: &Config,
    platform: &Platform,
    tasks: &Tasks,
    buses: Buses,
    audit: &AuditLog,
) -> Result<Backplane, BuildError> {
    let Platform { store, clock, entropy, public_url, admin_token, .. } = platform;
    let mut settings = settings::backplane(&config.backplane, public_url, admin_token)
        .map_err(failed("the settings of backplane"))?;
    settings.journal = Some(Arc::new(ProvisioningJournal(audit.clone())));
    let (store, clock, entropy) = (Arc::clone(store), Arc::clone(clock), Arc::clone(entropy));
    let backplane = Backplane::new(buses, store, clock, entropy, settings);
    let (runner, stop) = (backplane.clone(), tasks.stop());
    tasks.spawn("backplane", async move { runner.run(stop).await });
    Ok(backplane)
}

async fn broker(
    config: &Config,
    platform: &Platform,
    key: Option<&Secret<[u8; 32]>>,
    tasks: &Tasks,
) -> Result<BrokerHandle, BuildError> {
    let Platform { store, clock, entropy, .. } = platform;
    let mut broker = settings::mdp(&config.mdp).map_err(failed("the settings of mdp"))?;
    // So that our own services say themselves what took too long.
    broker.local_call_timeout = services::call_time_max(config.belay.block_max) * 2;
    let peers = Peers::prepare(config, platform.name(config), key, &**entropy, &mut broker)
        .await
        .map_err(failed("mdp.peers.listen"))?;
    let broker = Broker::start(broker).map_err(failed("mdp.listen"))?;
    if let Some(peers) = peers {
        let (store, clock) = (Arc::clone(store), Arc::clone(clock));
        let follow = peers.follow(broker.clone(), store, clock, tasks.stop());
        tasks.spawn("peers", follow.map_err(failed("the other gateways"))?);
    }
    if !config.mdp.metrics_services.is_empty() {
        let listed = config.mdp.metrics_services.clone();
        let run = service_metrics::publish(broker.clone(), listed, tasks.draining());
        tasks.spawn("service metrics", run);
    }
    Ok(broker)
}

fn relay(
    config: &Config,
    platform: &Platform,
    tasks: &Tasks,
    keys: Option<SealKeys>,
) -> Result<Option<Relay>, BuildError> {
    let Some(settings) = config.relay.as_ref().filter(|_| config.belay.enabled) else {
        return Ok(None);
    };
    let Platform { store, clock, entropy, .. } = platform;
    let settings = settings::relay(settings).map_err(failed("the settings of the relay"))?;
    let (time, chance) = (Arc::clone(clock), Arc::clone(entropy));
    let relay = match keys.filter(|_| store.status().is_shared) {
        Some(keys) => Relay::joined(Arc::clone(store), time, chance, settings, keys),
        None => Relay::new(Arc::clone(store), time, chance, settings),
    };
    let (runner, stop) = (relay.clone(), tasks.stop());
    tasks.spawn("relay", async move { runner.run(stop).await });
    Ok(Some(relay))
}

async fn titanic(
    config: &Config,
    platform: &Platform,
    tasks: &Tasks,
    broker: &BrokerHandle,
) -> Result<(), BuildError> {
    let Some(titanic) = &config.mdp.titanic else { return Ok(()) };
    let Platform { store, clock, entropy, .. } = platform;
    let settings = settings::titanic(titanic).map_err(failed("the settings of titanic"))?;
    let titanic = titanic::open(broker, store, clock, entropy, settings)
        .await
        .map_err(failed("the stored Majordomo requests"))?;
    // Nothing new is begun from there on; what is under way ends with the broker.
    tasks.spawn("titanic", titanic.run(tasks.draining()));
    Ok(())
}

async fn routes(
    config: &Config,
    platform: &Platform,
    tasks: &Tasks,
    doors: &Doors,
    audit: &AuditLog,
    activity: &Activity,
) -> Result<Routes, BuildError> {
    let subscribers =
        Subscribers::new(doors.subscriptions.clone(), doors.push.clone(), doors.caps.clone());
    tasks.spawn("push subscriptions", subscribers.clone().follow(tasks.stop()));
    let sinks = Sinks {
        buses: doors.buses.clone(),
        requests: doors.requests.clone(),
        push: doors.push.clone(),
        subscribers,
        caps: doors.caps.clone(),
        relay: doors.relay.clone(),
        egress: doors.egress.clone(),
    };
    let (source, name) = (doors.source.clone(), platform.name(config));
    let settings = settings::routes(&config.bridge, source, &platform.tracer, name)
        .map_err(failed("the settings of the bridge"))?;
    let routes = Routes::open(
        doors.buses.clone(),
        Arc::clone(&platform.store),
        Arc::clone(&platform.clock),
        Arc::clone(&platform.entropy),
        Arc::new(activity.timed(Arc::new(sinks), Arc::clone(&platform.clock))),
        settings,
    )
    .await
    .map_err(failed("the routes"))?;
    for route in &config.routes {
        match routes.create(declared_route(config, route)?).await {
            Ok(()) => {
                let resource = format!("route/{}", route.name);
                declared(audit, "RouteService/CreateRoute", resource).await?;
            }
            // What was made by hand or by an earlier start stays as it is.
            Err(RouteError::Exists(_)) => {}
            Err(error) => return Err(failed("a declared route")(error)),
        }
    }
    Ok(routes)
}

fn audit_log(config: &Config, platform: &Platform) -> Result<AuditLog, BuildError> {
    let Platform { store, clock, entropy, .. } = platform;
    let limits = AuditLimits {
        kept: config.admin.audit_kept,
        records_max: config.admin.audit_records.into(),
    };
    AuditLog::new(Arc::clone(store), Arc::clone(clock), Arc::clone(entropy), limits)
        .map_err(failed("the audit log"))
}

/// Records that something was made because the configuration declares it.
async fn declared(audit: &AuditLog, method: &str, resource: String) -> Result<(), BuildError> {
    let record = Record::of_configuration(method, resource);
    audit.note(record).await.map_err(failed("the audit log"))
}

fn declared_route(config: &Config, declared: &RouteDeclaration) -> Result<Route, BuildError> {
    let from = match declared.from {
        RouteStart::Beginning => "beginning".to_owned(),
        RouteStart::Now => "now".to_owned(),
        RouteStart::After(id) => id.to_string(),
    };
    Route::parse(&RouteDescription {
        name: declared.name.as_str(),
        scope: &declared.scope.to_string(),
        map: &declared.map,
        sink: declared.sink.expose(),
        reply_type: declared.reply_type.as_ref().map(buswire_message::MessageType::as_str),
        from: &from,
        retry: settings::retry(&config.bridge),
    })
    .map_err(|problems| failed("a declared route")(RouteError::Invalid(problems)))
}

async fn administration(
    config: &Config,
    platform: &Platform,
    tasks: &Tasks,
    doors: &Doors,
    routes: &Routes,
    live: Live,
    Kept { audit, activity }: Kept,
) -> Result<Router, BuildError> {
    let people =
        Arc::new(BackplanePort { backplane: doors.backplane.clone(), buses: doors.buses.clone() });
    let system = SystemPort {
        store: Arc::clone(&platform.store),
        buses: doors.buses.clone(),
        push: doors.push.clone(),
        relay: doors.relay.clone(),
        routes: routes.clone(),
        started_at: platform.clock.now(),
        listeners: platform
            .listeners(&settings::reachable_endpoints(&doors.broker), doors.broker.link_endpoint()),
        health: platform.health.clone(),
        shown: live.shown,
        backups: Backups::new(Arc::clone(&platform.store), &settings::store_directory(config)),
        protocols: settings::protocols(config),
    };
    let inbounds = InboundPort {
        inbounds: doors.inbounds.clone(),
        buses: doors.buses.clone(),
        clock: Arc::clone(&platform.clock),
        source: doors.source.clone(),
    };
    let clock = Arc::clone(&platform.clock);
    let activity = ActivityPort { activity, buses: doors.buses.clone(), clock };
    let retry = settings::retry(&config.bridge);
    let traces = Arc::new(TracePort(routes.clone()));
    let routes = Arc::new(RoutePort { routes: routes.clone(), retry });
    let tokens = admin_tokens(platform, tasks).await?;
    let ports = Ports {
        removal: Some(people.clone()),
        routes: Some(routes.clone()),
        dead_letters: Some(routes),
        traces: Some(traces),
        tokens: Some(tokens.clone()),
        capabilities: Some(Arc::new(CapabilityPort(doors.caps.clone()))),
        owners: Some(people.clone()),
        clients: Some(people.clone()),
        grants: Some(people.clone()),
        access: Some(people.clone()),
        users: Some(people),
        push: Some(Arc::new(PushPort(doors.push.clone()))),
        subscriptions: Some(Arc::new(SubscriptionPort(doors.subscriptions.clone()))),
        inbounds: Some(Arc::new(inbounds)),
        broker: Some(Arc::new(BrokerPort(doors.broker.clone()))),
        activity: Some(Arc::new(activity)),
        system: Some(Arc::new(system)),
    };
    let state = AdminState {
        buses: doors.buses.clone(),
        clock: Arc::clone(&platform.clock),
        ports,
        audit,
        source: doors.source.clone(),
        retention: config.backplane.retention,
        limits: AdminLimits::default(),
        shutdown: tasks.draining(),
    };
    let auth = Authenticator::new(&platform.admin_token, tokens, live.certificates);
    let server = admin::server(state, auth.clone()).await.map_err(failed("the administration"))?;
    let pages = console::router(server.router.clone(), auth).map_err(failed("the console"))?;
    let (health, stop) = (server.run(), tasks.stop());
    tasks.spawn("administration", async move {
        health.await;
        stop.cancelled().await;
    });
    Ok(server.router.merge(pages))
}

async fn admin_tokens(platform: &Platform, tasks: &Tasks) -> Result<Arc<Tokens>, BuildError> {
    let Platform { store, clock, entropy, .. } = platform;
    let tokens = Tokens::open(Arc::clone(store), Arc::clone(clock), Arc::clone(entropy))
        .await
        .map_err(failed("the tokens of administrators"))?;
    tasks.spawn("tokens of administrators", tokens.clone().follow(tasks.stop()));
    Ok(Arc::new(tokens))
}

fn add_doors(app: &mut App, config: &Config, doors: Doors, routes: Routes) {
    let Doors { buses, backplane, push, broker, caps, relay, starts, inbounds, .. } = doors;
    // The root belongs to two doors: devices open their sockets there, people see a page.
    let upgrade = config.simplepush.enabled.then(|| push.clone());
    let welcome = backplane.clone();
    let at_root = get(async move |request: Request| match &upgrade {
        Some(push) if buswire_simplepush::is_upgrade(request.headers()) => push.upgrade(request),
        _ => welcome.welcome(),
    });
    let paths = backplane.router().route("/", at_root);
    app.add(Door { name: "backplane", routes: paths, drain: None });
    if config.simplepush.enabled {
        let source = PushSource { inbounds, buses, caps: caps.clone() };
        let paths = push.router_with(Arc::new(source));
        let drain = Box::new(move || -> futures::future::BoxFuture<'static, ()> {
            Box::pin(async move { push.drain().await })
        });
        app.add(Door { name: "simplepush", routes: paths, drain: Some(drain) });
    }
    if config.belay.enabled {
        let blocked = caps.clone();
        let drain = Box::new(move || -> futures::future::BoxFuture<'static, ()> {
            Box::pin(async move { blocked.drain() })
        });
        let paths = caps.router().merge(starts.router());
        app.add(Door { name: "belay", routes: paths, drain: Some(drain) });
    }
    if let Some(relay) = relay {
        let paths = relay.router();
        let drain = Box::new(move || -> futures::future::BoxFuture<'static, ()> {
            Box::pin(async move { relay.drain().await })
        });
        app.add(Door { name: "relay", routes: paths, drain: Some(drain) });
    }
    let grace = config.mdp.drain;
    let drain = Box::new(move || -> futures::future::BoxFuture<'static, ()> {
        Box::pin(async move {
            // Routes first: they are callers of the broker and of the capabilities.
            routes.stop().await;
            broker.shutdown(grace).await;
            if let Err(error) = caps.close().await {
                tracing::warn!(%error, "the last uses of capabilities could not be counted");
            }
        })
    });
    app.add(Door { name: "mdp", routes: Router::new(), drain: Some(drain) });
}
