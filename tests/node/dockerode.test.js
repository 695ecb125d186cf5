// SPDX-License-Identifier: LGPL-2.1-or-later
// dockerode: the API's objects and streams, as programs written for Node.js use them.
import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { PassThrough } from 'node:stream';
import { after, before, test } from 'node:test';
import { IMAGE, archive, docker, halves, text, unpack, until } from './engine.js';

const LABEL = 'berth.node';
const SLEEP = ['sleep', '600'];

async function create(options = {}) {
    const { HostConfig, ...config } = options;
    return docker.createContainer({
        Image: IMAGE, Cmd: SLEEP, StopTimeout: 0, Labels: { [LABEL]: '1' },
        HostConfig: { NetworkMode: 'none', ...HostConfig }, ...config,
    });
}

async function running(t, options) {
    const container = await create(options);
    t.after(() => container.remove({ force: true, v: true }).catch(() => {}));
    await container.start();
    return container;
}

async function execute(container, Cmd, options = {}) {
    const exec = await container.exec({ Cmd, AttachStdout: true, AttachStderr: true, ...options });
    const [out, err] = await halves(await exec.start({}));
    return { out, err, status: (await exec.inspect()).ExitCode };
}

async function clean() {
    for (const { Id } of await docker.listContainers({ all: true, filters: { label: [LABEL] } })) {
        await docker.getContainer(Id).remove({ force: true, v: true });
    }
}

before(async () => {
    await text(await docker.loadImage(createReadStream(process.env.BUSYBOX_TAR ?? '/root/busybox.tar')));
    await clean();
});
after(clean);

test('the engine tells what it is', async () => {
    assert.equal((await docker.ping()).toString(), 'OK');
    const version = await docker.version();
    assert.match(version.ApiVersion, /^1\.\d+$/);
    const info = await docker.info();
    assert.equal(info.OSType, 'linux');
    assert.ok((await docker.df()).Images.some((image) => image.RepoTags.includes(IMAGE)));
    assert.ok((await docker.getImage(IMAGE).inspect()).Id.startsWith('sha256:'));
});

test('a container is created, started, awaited, and its output kept', async () => {
    const container = await create({ Cmd: ['sh', '-c', 'echo out $WORD; echo err >&2; exit 7'], Env: ['WORD=word'] });
    assert.equal((await container.inspect()).State.Status, 'created');
    await container.start();
    assert.deepEqual((await container.wait()).StatusCode, 7);
    // Without follow the whole log comes at once.
    const log = await container.logs({ stdout: true, stderr: true });
    assert.ok(log.includes('out word\n') && log.includes('err\n'), log.toString());
    const [out, err] = await halves(await container.logs({ stdout: true, stderr: true, follow: true }));
    assert.deepEqual([out, err], ['out word\n', 'err\n']);
    await container.remove();
    await assert.rejects(container.inspect(), { statusCode: 404 });
});

test('exec gives both streams and a status, takes input, and knows user, environment and directory', async (t) => {
    const container = await running(t);
    assert.deepEqual(await execute(container, ['sh', '-c', 'echo a; echo b >&2; exit 3']), { out: 'a\n', err: 'b\n', status: 3 });
    const set = { User: 'nobody', Env: ['A=1'], WorkingDir: '/tmp' };
    assert.equal((await execute(container, ['sh', '-c', 'echo $(id -un) $A $PWD'], set)).out, 'nobody 1 /tmp\n');
    const exec = await container.exec({ Cmd: ['sort'], AttachStdin: true, AttachStdout: true });
    const stream = await exec.start({ hijack: true, stdin: true });
    stream.end('b\na\n');
    assert.deepEqual(await halves(stream), ['a\nb\n', '']);
    const terminal = await container.exec({ Cmd: ['sh', '-c', 'tty; stty size'], AttachStdin: true, AttachStdout: true, Tty: true });
    const screen = await terminal.start({ hijack: true, stdin: true, Tty: true });
    assert.match(await text(screen), /^\/dev\/pts\/\d+\r\n/);
});

test('an attached container reads and writes, with a terminal that can be resized', async (t) => {
    const container = await create({ Cmd: ['cat'], OpenStdin: true, StdinOnce: true });
    t.after(() => container.remove({ force: true }).catch(() => {}));
    const stream = await container.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true });
    await container.start();
    stream.end('through\n');
    assert.deepEqual(await halves(stream), ['through\n', '']);
    assert.equal((await container.wait()).StatusCode, 0);
    const shell = await create({ Cmd: ['sh', '-c', 'read line; stty size'], OpenStdin: true, Tty: true });
    t.after(() => shell.remove({ force: true }).catch(() => {}));
    const screen = await shell.attach({ stream: true, hijack: true, stdin: true, stdout: true });
    await shell.start();
    await shell.resize({ h: 31, w: 97 });
    screen.write('go\n');
    assert.match(await text(screen), /31 97/);
});

test('docker.run gives the output and the status', async () => {
    const out = new PassThrough();
    const got = text(out);
    const [result, container] = await docker.run(IMAGE, ['sh', '-c', 'echo ran; exit 4'], out,
        { Tty: true, Labels: { [LABEL]: '1' }, HostConfig: { NetworkMode: 'none' } });
    assert.equal(result.StatusCode, 4);
    out.end();
    assert.equal(await got, 'ran\r\n');
    await container.remove();
});

test('files go in and come out, whether it runs or not', async (t) => {
    const container = await create();
    t.after(() => container.remove({ force: true }));
    await container.putArchive(archive({ 'before.txt': 'before\n' }), { path: '/tmp' });
    await container.start();
    await container.putArchive(archive({ 'during.txt': 'during\n' }), { path: '/tmp' });
    assert.equal((await execute(container, ['cat', '/tmp/before.txt', '/tmp/during.txt'])).out, 'before\nduring\n');
    const files = await unpack(await container.getArchive({ path: '/tmp' }));
    assert.equal(files['tmp/during.txt'], 'during\n');
    const head = await container.infoArchive({ path: '/tmp/before.txt' });
    head.resume();
    const stat = JSON.parse(Buffer.from(head.headers['x-docker-container-path-stat'], 'base64'));
    assert.deepEqual([stat.name, stat.size], ['before.txt', 7]);
    await assert.rejects(container.getArchive({ path: '/none' }), { statusCode: 404 });
    assert.ok((await container.changes()).some((change) => change.Path === '/tmp/before.txt' && change.Kind === 1));
});

test('events of a life come as they happen', async () => {
    const stream = await docker.getEvents({ filters: { label: [`${LABEL}.events=1`] } });
    const seen = [];
    let rest = '';
    stream.on('data', (piece) => {
        const lines = (rest + piece).split('\n');
        rest = lines.pop();
        seen.push(...lines.filter(Boolean).map((line) => JSON.parse(line).Action));
    });
    const container = await create({ Cmd: ['true'], Labels: { [LABEL]: '1', [`${LABEL}.events`]: '1' } });
    await container.start();
    await container.wait();
    await container.remove();
    await until('destroy', () => seen.includes('destroy'));
    stream.destroy();
    assert.deepEqual(seen, ['create', 'start', 'die', 'destroy']);
});

test('it is paused, renamed, updated, restarted, killed, listed by filters', async (t) => {
    const container = await running(t);
    await container.pause();
    assert.equal((await container.inspect()).State.Status, 'paused');
    await container.unpause();
    await container.rename({ name: 'node-renamed' });
    assert.equal((await docker.getContainer('node-renamed').inspect()).Id, container.id);
    await container.update({ RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 } });
    assert.equal((await container.inspect()).HostConfig.RestartPolicy.MaximumRetryCount, 2);
    const { Pid } = (await container.inspect()).State;
    await container.restart({ t: 0 });
    assert.notEqual((await container.inspect()).State.Pid, Pid);
    assert.ok((await container.top({ ps_args: '-eo pid,args' })).Processes.some((line) => line.join(' ').includes('sleep 600')));
    const listed = async (status) => docker.listContainers({ all: true, filters: { label: [LABEL], name: ['node-renamed'], status: [status] } });
    assert.deepEqual((await listed('running')).map((one) => one.Id), [container.id]);
    assert.deepEqual(await listed('exited'), []);
    const end = container.wait();
    await container.update({ RestartPolicy: { Name: 'no' } });
    await container.kill({ signal: 'SIGKILL' });
    assert.equal((await end).StatusCode, 137);
    await assert.rejects(container.kill(), { statusCode: 409 });
    await assert.rejects(container.stop(), { statusCode: 304 });
});

test('statistics come once and as a stream', async (t) => {
    const container = await running(t);
    const once = await container.stats({ stream: false });
    assert.equal(once.id, container.id);
    const stream = await container.stats({ stream: true });
    let got = '';
    for await (const piece of stream) {
        got += piece;
        if (got.trim().split('\n').length >= 2) {
            break;
        }
    }
    const samples = got.trim().split('\n').slice(0, 2).map((line) => Date.parse(JSON.parse(line).read));
    assert.ok(samples[1] > samples[0], got);
});

test('two containers find each other on a network, and a published port answers', async (t) => {
    const network = await docker.createNetwork({ Name: 'node-net', Labels: { [LABEL]: '1' } });
    t.after(() => network.remove());
    const server = await running(t, {
        name: 'node-server', Cmd: ['sh', '-c', 'echo served >/tmp/index.html; exec httpd -f -p 80 -h /tmp'], ExposedPorts: { '80/tcp': {} },
        HostConfig: { NetworkMode: 'node-net', PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] } },
    });
    const client = await running(t, { HostConfig: { NetworkMode: 'node-net' } });
    await until('an answer by name', async () =>
        (await execute(client, ['wget', '-qO-', 'http://node-server/index.html'])).out === 'served\n');
    const port = (await server.inspect()).NetworkSettings.Ports['80/tcp'][0].HostPort;
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/index.html`)).text(), 'served\n');
    assert.deepEqual(Object.keys((await network.inspect()).Containers).sort(), [client.id, server.id].sort());
    await network.disconnect({ Container: client.id });
    assert.deepEqual(Object.keys((await network.inspect()).Containers), [server.id]);
    await network.connect({ Container: client.id, EndpointConfig: { Aliases: ['again'] } });
    assert.equal((await execute(server, ['ping', '-c1', '-W5', 'again'])).status, 0);
    await server.remove({ force: true });
    await client.remove({ force: true });
});

test('a volume outlives the container that wrote into it', async (t) => {
    await docker.createVolume({ Name: 'node-volume', Labels: { [LABEL]: '1' } });
    const volume = docker.getVolume('node-volume');
    t.after(() => volume.remove({ force: true }));
    const HostConfig = { Binds: ['node-volume:/data'] };
    const writer = await create({ Cmd: ['sh', '-c', 'echo kept >/data/file'], HostConfig });
    await writer.start();
    await writer.wait();
    await writer.remove();
    const reader = await running(t, { HostConfig: { Mounts: [{ Type: 'volume', Source: 'node-volume', Target: '/data', ReadOnly: true }] } });
    assert.equal((await execute(reader, ['cat', '/data/file'])).out, 'kept\n');
    assert.notEqual((await execute(reader, ['touch', '/data/file'])).status, 0);
    await assert.rejects(volume.remove(), { statusCode: 409 });
    assert.ok((await docker.listVolumes({ filters: { label: [LABEL] } })).Volumes.some((one) => one.Name === 'node-volume'));
    await reader.remove({ force: true });
});

test('an image is built, committed, tagged, saved and loaded, with progress to follow', async (t) => {
    t.after(() => docker.getImage('node-built:1').remove({ force: true }).catch(() => {}));
    const stream = await docker.buildImage(archive({ Dockerfile: `FROM ${IMAGE}\nCOPY word /word\nCMD ["cat", "/word"]\n`, word: 'built\n' }),
        { t: 'node-built:1', version: '1' });
    const progress = await new Promise((done, fail) => {
        docker.modem.followProgress(stream, (error, output) => (error ? fail(error) : done(output)));
    });
    assert.ok(progress.some((line) => line.stream?.includes('Successfully built')), JSON.stringify(progress));
    const container = await docker.createContainer({ Image: 'node-built:1', Labels: { [LABEL]: '1' }, HostConfig: { NetworkMode: 'none' } });
    await container.start();
    await container.wait();
    assert.deepEqual(await halves(await container.logs({ stdout: true, follow: true })), ['built\n', '']);
    await container.commit({ repo: 'node-committed', tag: '1' });
    await container.remove();
    const image = docker.getImage('node-committed:1');
    await image.tag({ repo: 'node-tagged', tag: '2' });
    await image.remove();
    const saved = new PassThrough();
    (await docker.getImage('node-tagged:2').get()).pipe(saved);
    const parts = [];
    for await (const part of saved) {
        parts.push(part);
    }
    await docker.getImage('node-tagged:2').remove();
    await assert.rejects(docker.getImage('node-tagged:2').inspect(), { statusCode: 404 });
    assert.match(await text(await docker.loadImage(Buffer.concat(parts))), /node-tagged:2/);
    assert.ok((await docker.getImage('node-tagged:2').history()).length >= 2);
    await docker.getImage('node-tagged:2').remove();
});

test('what is wrong is refused with a status and a reason', async () => {
    await assert.rejects(create({ Image: 'none:none' }), (error) => error.statusCode === 404 && /No such image/.test(error.message));
    await assert.rejects(docker.getContainer('nosuch').start(), (error) => error.statusCode === 404 && /No such container/.test(error.reason + error.message));
    await assert.rejects(docker.getNetwork('nosuch').inspect(), { statusCode: 404 });
    const container = await create({ name: 'node-twice' });
    await assert.rejects(create({ name: 'node-twice' }), { statusCode: 409 });
    await container.remove();
    const broken = await create({ Cmd: ['/no/such/program'] });
    await assert.rejects(broken.start(), (error) => error.statusCode === 400 && /no such file/.test(error.message));
    await broken.remove();
});
