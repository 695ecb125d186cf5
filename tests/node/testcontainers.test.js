// SPDX-License-Identifier: LGPL-2.1-or-later
// testcontainers without its reaper: what a project's own tests do with it.
process.env.TESTCONTAINERS_RYUK_DISABLED = 'true';
const { default: assert } = await import('node:assert/strict');
const { after, before, test } = await import('node:test');
const { createReadStream, mkdtempSync, rmSync, writeFileSync } = await import('node:fs');
const { GenericContainer, Network, Wait } = await import('testcontainers');
const { IMAGE, docker, text, unpack, until } = await import('./engine.js');

const WEB = ['sh', '-c', 'mkdir -p /www; echo served >/www/index.html; echo listening; exec httpd -f -p 8080 -h /www'];

before(async () => {
    await text(await docker.loadImage(createReadStream(process.env.BUSYBOX_TAR ?? '/root/busybox.tar')));
});
let directory;
before(() => { directory = mkdtempSync('/root/node-'); });
after(() => rmSync(directory, { recursive: true }));

async function started(t, container) {
    const result = await container.start();
    t.after(() => result.stop({ timeout: 0 }).catch(() => {}));
    return result;
}

const page = async (container) => (await fetch(`http://${container.getHost()}:${container.getMappedPort(8080)}/index.html`)).text();

test('it waits for a line of the log, and for the listed ports', async (t) => {
    const container = await started(t, new GenericContainer(IMAGE).withCommand(WEB).withExposedPorts(8080)
        .withWaitStrategy(Wait.forAll([Wait.forLogMessage(/listening/), Wait.forListeningPorts()])));
    assert.equal(await page(container), 'served\n');
});

test('it waits for a health check', async (t) => {
    const container = await started(t, new GenericContainer(IMAGE).withCommand(['sh', '-c', 'sleep 1; touch /ready; exec sleep 600'])
        .withHealthCheck({ test: ['CMD-SHELL', 'test -e /ready'], interval: 200, timeout: 5000, retries: 100, startPeriod: 0 })
        .withWaitStrategy(Wait.forHealthCheck()));
    const { State } = await docker.getContainer(container.getId()).inspect();
    assert.equal(State.Health.Status, 'healthy');
});

test('a container that turns unhealthy fails the wait', async () => {
    await assert.rejects(new GenericContainer(IMAGE).withCommand(['sleep', '600'])
        .withHealthCheck({ test: ['CMD-SHELL', 'exit 1'], interval: 200, timeout: 5000, retries: 1, startPeriod: 0 })
        .withWaitStrategy(Wait.forHealthCheck()).start(), /unhealthy/i);
});

test('it waits for an answer over HTTP, for a command, for the end', async (t) => {
    const http = await started(t, new GenericContainer(IMAGE).withCommand(WEB).withExposedPorts(8080)
        .withWaitStrategy(Wait.forHttp('/index.html', 8080).forStatusCode(200)));
    assert.equal(await page(http), 'served\n');
    const shell = await started(t, new GenericContainer(IMAGE).withCommand(['sh', '-c', 'touch /made; exec sleep 600'])
        .withWaitStrategy(Wait.forSuccessfulCommand('test -e /made')));
    assert.equal((await shell.exec(['ls', '/made'])).exitCode, 0);
    const once = await started(t, new GenericContainer(IMAGE).withCommand(['echo', 'done']).withAutoRemove(false)
        .withWaitStrategy(Wait.forOneShotStartup()));
    assert.equal((await docker.getContainer(once.getId()).inspect()).State.ExitCode, 0);
});

test('exec tells output and status, and takes user, directory and environment', async (t) => {
    const container = await started(t, new GenericContainer(IMAGE).withCommand(['sleep', '600']).withEnvironment({ A: 'a' }));
    const result = await container.exec(['sh', '-c', 'echo $(id -un) $PWD $A $B; echo err >&2; exit 5'],
        { user: 'daemon', workingDir: '/tmp', env: { B: 'b' } });
    assert.deepEqual([result.stdout, result.stderr, result.exitCode], ['daemon /tmp a b\n', 'err\n', 5]);
});

test('files, directories and contents go in, before and after the start, and come out', async (t) => {
    writeFileSync(`${directory}/file`, 'from a file\n');
    const container = await started(t, new GenericContainer(IMAGE).withCommand(['sleep', '600'])
        .withCopyContentToContainer([{ content: 'early\n', target: '/tmp/early', mode: 0o640 }])
        .withCopyFilesToContainer([{ source: `${directory}/file`, target: '/tmp/file' }]));
    await container.copyContentToContainer([{ content: 'late\n', target: '/tmp/deep/er/late' }]);
    await container.copyDirectoriesToContainer([{ source: directory, target: '/tmp/directory' }]);
    const read = await container.exec(['sh', '-c', 'cd /tmp; cat early file deep/er/late directory/file; stat -c %a early']);
    assert.equal(read.stdout, 'early\nfrom a file\nlate\nfrom a file\n640\n');
    const files = await unpack(await container.copyArchiveFromContainer('/tmp/deep'));
    assert.equal(files['deep/er/late'], 'late\n');
});

test('binds, tmpfs, limits, capabilities, hosts, user and names are there inside', async (t) => {
    const container = await started(t, new GenericContainer(IMAGE).withCommand(['sleep', '600']).withName('node-named')
        .withBindMounts([{ source: directory, target: '/bound', mode: 'ro' }]).withTmpFs({ '/scratch': 'rw,size=1m' })
        .withUlimits({ nofile: { soft: 77, hard: 78 } }).withDroppedCapabilities('CHOWN').withHostname('inner')
        .withExtraHosts([{ host: 'elsewhere', ipAddress: '192.0.2.9' }]).withUser('33:33').withWorkingDir('/bound')
        .withSharedMemorySize(8 << 20).withLabels({ kind: 'test' }));
    const said = async (command) => (await container.exec(['sh', '-c', command])).stdout.trim();
    assert.equal(container.getName(), '/node-named');
    assert.equal(container.getLabels().kind, 'test');
    assert.equal(await said('hostname; ulimit -n; id -u; pwd'), 'inner\n77\n33\n/bound');
    assert.match(await said('grep elsewhere /etc/hosts'), /^192\.0\.2\.9/);
    assert.match(await said('grep " /scratch " /proc/mounts'), /^tmpfs .*size=1024k/);
    assert.match(await said('grep " /dev/shm " /proc/mounts'), /size=8192k/);
    assert.match(await said('grep " /bound " /proc/mounts'), / ro[, ]/);
    assert.equal(BigInt(`0x${await said("awk '/^CapBnd/ {print $2}' /proc/self/status")}`) & 1n, 0n);
});

test('the log is followed, a restart keeps the container, a stop removes it', async () => {
    const lines = [];
    const container = await new GenericContainer(IMAGE).withCommand(['sh', '-c', 'echo started; exec sleep 600'])
        .withLogConsumer((stream) => stream.on('data', (line) => lines.push(String(line))))
        .withWaitStrategy(Wait.forLogMessage('started')).start();
    await until('the line in the consumer', () => lines.join('').includes('started'));
    await container.exec(['touch', '/kept']);
    await container.restart({ timeout: 0 });
    assert.equal((await container.exec(['ls', '/kept'])).exitCode, 0);
    // The library lets nothing wait for this stream: a timer has to.
    const log = await container.logs();
    let kept = '';
    log.on('data', (piece) => { kept += piece; });
    await until('the line in the log', () => kept.includes('started'));
    log.destroy();
    await container.stop({ timeout: 0 });
    await assert.rejects(docker.getContainer(container.getId()).inspect(), { statusCode: 404 });
});

test('containers of a network know each other by alias', async (t) => {
    const network = await new Network().start();
    t.after(() => network.stop());
    const server = await new GenericContainer(IMAGE).withCommand(WEB).withNetwork(network).withNetworkAliases('web')
        .withExposedPorts(8080).withWaitStrategy(Wait.forListeningPorts()).start();
    const client = await new GenericContainer(IMAGE).withCommand(['sleep', '600']).withNetwork(network).start();
    assert.equal((await client.exec(['wget', '-qO-', 'http://web:8080/index.html'])).output, 'served\n');
    assert.ok(server.getIpAddress(network.getName()));
    await client.stop({ timeout: 0 });
    await server.stop({ timeout: 0 });
});

test('an image is built from a Dockerfile, and a container committed', async (t) => {
    const context = mkdtempSync('/root/node-context-');
    t.after(() => rmSync(context, { recursive: true }));
    writeFileSync(`${context}/Dockerfile`, `FROM ${IMAGE}\nARG WORD\nRUN echo $WORD >/word\nCMD ["sleep", "600"]\n`);
    const image = await GenericContainer.fromDockerfile(context).withBuildArgs({ WORD: 'argued' }).build('node-tc-built:1');
    const remove = (name) => docker.getImage(name).remove({ force: true });
    const container = await started(t, image);
    assert.equal((await container.exec(['cat', '/word'])).stdout, 'argued\n');
    await container.exec(['sh', '-c', 'echo committed >/word']);
    const id = await container.commit({ repo: 'node-tc-committed', tag: '1' });
    const again = await started(t, new GenericContainer('node-tc-committed:1'));
    assert.equal((await again.exec(['cat', '/word'])).stdout, 'committed\n');
    await again.stop({ timeout: 0 });
    await container.stop({ timeout: 0 });
    await remove(id);
    await remove('node-tc-built:1');
});
