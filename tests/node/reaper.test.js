// SPDX-License-Identifier: LGPL-2.1-or-later
// testcontainers with a reaper, which is the image of $RYUK_CONTAINER_IMAGE: it is a container that is given the engine's
// socket, bears the label of the session that started it, and removes what a test program that died has left.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { once } from 'node:events';
import { before, test } from 'node:test';
import { docker, text, until } from './engine.js';

before(async () => {
    for (const file of [process.env.BUSYBOX_TAR ?? '/root/busybox.tar', process.env.REAPER_TAR ?? '/root/reaper.tar']) {
        await text(await docker.loadImage(createReadStream(file)));
    }
});

const all = async (label) => docker.listContainers({ all: true, filters: { label: [label] } });

test('what a killed program leaves is removed, the reaper included', async (t) => {
    const program = spawn(process.execPath, [new URL('left-behind.js', import.meta.url).pathname], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => program.kill('SIGKILL'));
    let told = '';
    program.stdout.on('data', (piece) => { told += piece; });
    await until('what it has started', () => told.includes('\n') || program.exitCode !== null, 120);
    assert.equal(program.exitCode, null, told);
    const { session, container } = JSON.parse(told);
    const label = `org.testcontainers.session-id=${session}`;
    assert.equal((await docker.getContainer(container).inspect()).State.Running, true);
    assert.deepEqual((await all(label)).map((one) => one.Image).sort(), ['busybox:latest', 'reaper:latest']);
    const volumes = async () => (await docker.listVolumes({ filters: { label: [label] } })).Volumes;
    const networks = async () => docker.listNetworks({ filters: { label: [label] } });
    assert.equal((await volumes()).length, 1);
    assert.equal((await networks()).length, 1);
    program.kill('SIGKILL');
    await once(program, 'exit');
    await until('everything gone', async () => (await all(label)).length === 0);
    assert.deepEqual(await networks(), []);
    assert.deepEqual((await volumes()) ?? [], []);
});
